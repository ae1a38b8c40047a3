"""Maps of 8-bit values, which networks pass on as if they were floats. In: what a convolution of integers gave.

A value is (q - zero) * scale, with a scale and a zero for each channel. Functions that only choose among values work on
the integers; all others get floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.models import tensor_functions as known

LARGEST = 255
"""Largest integer."""
MOST_SPREAD = 32
"""How many times as large as the least scale of a channel the largest may be: what was empty in training windows may
hold something in a scene."""
_TINY = torch.finfo(torch.float32).tiny
"""Numbers below are not computed with as exactly: where no values are larger, they count as 0."""


def scale_of(low: Tensor, high: Tensor) -> Tensor:
    """Scale (C) of values from `low` to `high`, each (C), and 0."""
    scale = (high.clamp(min=0.0) - low.clamp(max=0.0)) / LARGEST
    least = float(scale.max()) / MOST_SPREAD
    return scale.clamp(min=least if least >= _TINY else 1.0)


class Scaling:
    """What 8-bit values of each channel stand for."""

    def __init__(self, scale: Tensor, zero: Tensor):
        """`scale` and `zero`, each (C), float32."""
        self.scale, self.zero = scale, zero

    @classmethod
    def of_range(cls, low: Tensor, high: Tensor, *, within: Tensor | None = None) -> Self:
        """That of values from `low` to `high`, each (C); 0 is always among them.

        Args:
            low: least values.
            high: largest values.
            within: the scale, where it is shared; it must be large enough.
        """
        scale = scale_of(low, high) if within is None else within
        return cls(scale, -low.clamp(max=0.0) / scale)

    def is_same(self, other: Scaling) -> bool:
        """Whether integers stand for the same values."""
        return self is other or (torch.equal(self.scale, other.scale) and torch.equal(self.zero, other.zero))

    def floats(self, integers: Tensor) -> Tensor:
        """The values (B, C, h, w), float32."""
        shape = (1, -1, 1, 1)
        return (integers - self.zero.view(shape)).mul_(self.scale.view(shape))

    def integers(self, values: Tensor) -> Tensor:
        """The nearest integers (B, C, h, w), uint8, of floats."""
        shape = (1, -1, 1, 1)
        found = torch.addcmul(self.zero.view(shape), values.float(), self.scale.reciprocal().view(shape))
        return found.round_().clamp_(0, LARGEST).to(torch.uint8)


class Sum(Protocol):
    """A convolution that has not been computed yet, as a sum comes next."""

    def __call__(self, added: Quantized | None) -> Tensor:
        """Its integers (B, C, h, w), with others of the same scale added; or, of None, its floats."""
        ...


class Quantized(torch.Tensor):
    """Maps (B, C, h, w) of 8-bit values."""

    scaling: Scaling
    _integers: Tensor | None
    _sum: Sum | None
    _floats: Tensor | None = None

    @staticmethod
    def __new__(
        cls, integers: Tensor | None, scaling: Scaling, *, sum_of: Sum | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> Quantized:  # fmt: skip
        """Make them of integers, or of a convolution that waits for its sum, and their shape then."""
        size = shape or tuple(integers.shape if integers is not None else ())
        made: Quantized = torch.Tensor._make_wrapper_subclass(cls, size, dtype=torch.float32)
        made.scaling, made._integers, made._sum = scaling, integers, sum_of
        return made

    @property
    def is_float(self) -> bool:
        """Whether floats have taken the place of its integers."""
        return self._floats is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it is a convolution that has not been computed yet."""
        return self._sum is not None

    @property
    def integers(self) -> Tensor:
        """The integers (B, C, h, w), uint8."""
        if self._integers is None:
            self._integers = self.scaling.integers(self.floats())
            self._sum = None
        return self._integers

    def floats(self) -> Tensor:
        """The values (B, C, h, w), float32."""
        if self._floats is not None:
            return self._floats
        with torch._C.DisableTorchFunctionSubclass():
            if self._sum is not None:
                return self._sum(None)
            return self.scaling.floats(self.integers)

    def plus(self, other: Quantized) -> Quantized | None:
        """The sum, if this waits for one with values of the same scale; else None."""
        if self._sum is None or other.is_waiting or not torch.equal(self.scaling.scale, other.scaling.scale):
            return None
        return Quantized(self._sum(other), self.scaling)

    def copied(self) -> Quantized:
        """The same values, for who may change them in place."""
        return Quantized(self._integers, self.scaling, sum_of=self._sum, shape=tuple(self.shape))

    def become(self, other: Tensor) -> Quantized:
        """Take on the values of another one, or floats, which it is for everybody from then on."""
        if isinstance(other, Quantized):
            self.scaling = other.scaling
            self._integers, self._sum, self._floats = other._integers, other._sum, other._floats
        else:
            self._integers, self._sum, self._floats = None, None, other
        return self

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch on the integers if it can take them, else on floats."""
        keywords = kwargs or {}
        if func in known.QUESTIONS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **keywords)
        with torch._C.DisableTorchFunctionSubclass():
            found = _on_integers(func, args, keywords)
        if found is None:
            found = func(*_as_floats(args), **_as_floats(keywords))
        if known.is_in_place(func, args, keywords) and args and isinstance(args[0], Quantized):
            return args[0].become(found)
        return found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what PyTorch's own code calls on floats."""
        return func(*_as_floats(args), **_as_floats(kwargs or {}))


def _on_integers(function: known.Function, arguments: Any, keywords: dict[str, Any]) -> Quantized | None:
    """The result of a function, if it works on the integers."""
    if any(one.is_float for one in _quantized_in(arguments)):
        return None
    if function in known.SUMS:
        return _added(known.addends(arguments, keywords))
    if function in known.CONCATENATIONS:
        return _concatenated(known.joined(arguments, keywords))
    values = arguments[0] if arguments else None
    if not isinstance(values, Quantized):
        return None
    if function in known.ACTIVATIONS:
        return _clamped(values, *known.bounds(function, arguments, keywords))
    if function in known.COPIES:
        return values.copied()
    if function in known.MAX_POOLINGS:
        return _changed(values, lambda integers: _max_pooled(integers, *arguments[1:], **keywords))
    if known.is_inner_resize(function, arguments, keywords):
        return _changed(values, lambda integers: functional.interpolate(integers, *arguments[1:], **keywords))
    if function is torch.Tensor.__getitem__ and known.is_spatial(arguments[1]):
        return _changed(values, lambda integers: integers[arguments[1]])
    return None


def _added(pair: tuple[Any, Any] | None) -> Quantized | None:
    if pair is None:
        return None
    one, other = pair
    if not (isinstance(one, Quantized) and isinstance(other, Quantized)):
        return None
    found = one.plus(other)
    return other.plus(one) if found is None else found


def _concatenated(given: Sequence[Any] | None) -> Quantized | None:
    maps = [one for one in given or () if isinstance(one, Quantized)]
    if given is None or len(maps) < len(given):
        return None
    scalings = [one.scaling for one in maps]
    together = Scaling(torch.cat([one.scale for one in scalings]), torch.cat([one.zero for one in scalings]))
    joined = torch.cat([one.integers for one in maps], dim=1)
    return Quantized(joined, together)


def _clamped(values: Quantized, least: float, largest: float) -> Quantized | None:
    """The integers clamped; those of a convolution whose range was found behind the activation are already."""
    if values.is_waiting:
        return None
    scale, zero = values.scaling.scale, values.scaling.zero
    low, high = ((bound / scale + zero).round().clamp(0, LARGEST) for bound in (least, largest))
    if not bool(low.any()) and bool((high == LARGEST).all()):
        return values.copied()
    low, high = (bound.to(torch.uint8).view(1, -1, 1, 1) for bound in (low, high))
    return _changed(values, lambda integers: torch.minimum(torch.maximum(integers, low), high))


def _changed(values: Quantized, change: Callable[[Tensor], Tensor]) -> Quantized:
    return Quantized(change(values.integers), values.scaling)


def _max_pooled(
    integers: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, **options: Any
) -> Tensor:
    """Max pooling (B, C, h, w), which PyTorch lacks for integers of 8 bits: the largest of shifted maps."""
    (down, across), (row_step, col_step), (rows, cols) = map(_pair, (kernel_size, stride or kernel_size, padding))
    if _pair(dilation) != (1, 1) or options.get("ceil_mode"):
        pooled: Tensor = functional.max_pool2d(integers.float(), kernel_size, stride, padding, dilation, **options)
        return pooled.to(torch.uint8)
    padded = functional.pad(integers, (cols, cols, rows, rows))
    height, width = padded.shape[2] - down + 1, padded.shape[3] - across + 1
    of_rows = _largest([padded[:, :, i : i + height : row_step] for i in range(down)])
    return _largest([of_rows[..., i : i + width : col_step] for i in range(across)])


def _largest(maps: Sequence[Tensor]) -> Tensor:
    found: Tensor = reduce(torch.maximum, maps)
    return found


def _pair(value: Any) -> tuple[int, int]:
    one, other = (value, value) if isinstance(value, int) else value
    return one, other


def _quantized_in(given: Any) -> Iterator[Quantized]:
    if isinstance(given, Quantized):
        yield given
    elif isinstance(given, (list, tuple)):
        for one in given:
            yield from _quantized_in(one)


def _as_floats(given: Any) -> Any:
    """Arguments with all maps of 8-bit values as floats."""
    if isinstance(given, Quantized):
        return given.floats()
    if isinstance(given, (list, tuple)) and not hasattr(given, "_fields"):
        return type(given)(_as_floats(one) for one in given)
    if isinstance(given, dict):
        return {name: _as_floats(one) for name, one in given.items()}
    return given
