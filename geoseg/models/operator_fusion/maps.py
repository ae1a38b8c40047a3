"""Maps that networks pass on before they are computed, so that a convolution knows what comes before and behind it.

In: what a convolution is to compute. Out: tensors for everybody else. A convolution waits for the sum and activation
that may follow it; maps that are enlarged twofold, or put beside others, wait for the convolution that takes them.

What waits reads the values of other maps later. So whoever changes these in place, or might, has it computed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol
from weakref import WeakSet

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.models import tensor_functions as known
from geoseg.models.operator_fusion.activations import NONE, RELU, Activation, activation_of


class Convolve(Protocol):
    """A convolution that has its inputs."""

    def __call__(self, added: Tensor | None, activation: Activation) -> Tensor:
        """Its outputs (B, C, h, w), with other maps added, then activated."""
        ...


class Part(NamedTuple):
    """Maps beside others."""

    content: Content
    """Values."""
    is_enlarged: bool
    """Whether each pixel stands for two by two."""


@dataclass(eq=False)
class Content:
    """What maps hold: values, or what gives them."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    values: Tensor | None = None
    convolve: Convolve | None = None
    added: Tensor | None = None
    """What a convolution that waits is to add."""
    parts: tuple[Part, ...] = ()
    sources: tuple[Content, ...] = ()
    """What it reads when it is computed."""
    is_shared: bool = False
    """Whether others may know the values, and change them at any time."""
    on_reuse: Callable[[], None] | None = None
    """Called when a convolution is computed a second time, as more than one thing follows it."""
    _readers: WeakSet[Content] = field(default_factory=WeakSet)
    _is_taken: bool = False

    def __post_init__(self) -> None:
        for source in self.sources:
            source._readers.add(self)

    @classmethod
    def of(cls, values: Tensor) -> Content:
        """Values that nobody else knows."""
        return cls(tuple(values.shape), values.dtype, values)

    @property
    def may_sum(self) -> bool:
        """Whether this is a convolution that may add something."""
        return self.convolve is not None and self.added is None

    def computed(self) -> Tensor:
        """The values (B, C, h, w), for who does not change them and does not give them away."""
        if self.values is None:
            self._take()
            self._become(joined(self.parts) if self.convolve is None else self.convolve(self.added, NONE))
        assert self.values is not None
        return self.values

    def given_away(self) -> Tensor:
        """The values, for anybody."""
        self.settle()
        self.is_shared = True
        return self.computed()

    def settle(self) -> None:
        """Have all that reads these values computed, for they may change."""
        for reader in list(self._readers):
            reader.computed()
        self._readers.clear()

    def activate(self, activation: Activation) -> None:
        """Compute this convolution and activate it in place."""
        assert self.convolve is not None
        self._become(self.convolve(self.added, activation))

    def activated(self, activation: Activation) -> Content:
        """This convolution, activated."""
        assert self.convolve is not None
        self._take()
        return Content.of(self.convolve(self.added, activation))

    def plus(self, added: Tensor, source: Content | None) -> Content:
        """This convolution with other maps added: those of a source, or of somebody else who may change them."""
        self._take()
        made = Content(
            self.shape, self.dtype, convolve=self.convolve, added=added, sources=self.sources, on_reuse=self.on_reuse
        )
        if source is None or source.is_shared:
            made.computed()
        else:
            made.sources += (source,)
            source._readers.add(made)
        return made

    def replace(self, other: Content) -> None:
        """Take on what another one is, of which this is the only holder from now on."""
        self.values, self.convolve, self.added, self.sources = other.values, other.convolve, other.added, other.sources
        self._is_taken = False
        for source in self.sources if self.values is None else ():
            source._readers.add(self)

    def _take(self) -> None:
        if self._is_taken and self.on_reuse is not None:
            self.on_reuse()
        self._is_taken = True

    def _become(self, values: Tensor) -> None:
        self.values, self.convolve, self.added, self.parts, self.sources = values, None, None, (), ()


def joined(parts: Sequence[Part]) -> Tensor:
    """Values (B, C, h, w) of maps beside each other."""
    found = [
        functional.interpolate(values, scale_factor=2.0, mode="nearest") if is_enlarged else values
        for values, is_enlarged in ((part.content.computed(), part.is_enlarged) for part in parts)
    ]
    return found[0] if len(found) == 1 and not parts[0].is_enlarged else torch.cat(found, dim=1)


class Maps(torch.Tensor):
    """Maps (B, C, h, w) of floats, perhaps not computed yet."""

    content: Content

    @staticmethod
    def of(content: Content) -> Maps:
        """Make them of what they hold."""
        _, channels, height, width = content.shape
        strides = channels * height * width, 1, channels * width, channels
        made: Maps = torch.Tensor._make_wrapper_subclass(Maps, content.shape, strides=strides, dtype=content.dtype)
        made.content = content
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, later if a convolution may do it."""
        keywords = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in known.QUESTIONS:
                return func(*args, **keywords)
            if "out" in keywords:
                return func(*plain(args), **plain(keywords))
            if known.is_in_place(func, args, keywords):
                return _in_place(func, args, keywords)
            found = _later(func, args, keywords)
            return _now(func, args, keywords) if found is None else Maps.of(found)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call what PyTorch's own code calls on the values."""
        return func(*plain(args), **plain(kwargs or {}))


def plain(given: Any) -> Any:
    """Whatever holds tensors, with the values of maps in their place."""
    return _changed(given, Content.given_away)


def _read(given: Any) -> Any:
    """Arguments of a function that neither changes nor gives away what it takes."""
    return _changed(given, Content.computed)


def _changed(given: Any, change: Callable[[Content], Tensor]) -> Any:
    if isinstance(given, Maps):
        return change(given.content)
    if isinstance(given, tuple) and hasattr(given, "_fields"):
        return type(given)(*(_changed(one, change) for one in given))
    if isinstance(given, (list, tuple)):
        return type(given)(_changed(one, change) for one in given)
    if isinstance(given, dict):
        return {name: _changed(one, change) for name, one in given.items()}
    return given


def _now(function: known.Function, arguments: Any, keywords: dict[str, Any]) -> Any:
    """Call a function on values."""
    if function not in known.FRESH:
        return function(*plain(arguments), **plain(keywords))
    found = function(*_read(arguments), **_read(keywords))
    is_map = isinstance(found, Tensor) and found.ndim == 4 and found.is_floating_point()
    return Maps.of(Content.of(found)) if is_map else found


def _in_place(function: known.Function, arguments: Any, keywords: dict[str, Any]) -> Any:
    """Call a function that changes its first argument, which it returns."""
    changed = arguments[0] if arguments else None
    if not isinstance(changed, Maps):
        return function(*plain(arguments), **plain(keywords))
    content = changed.content
    if content.convolve is not None:
        activation = _activation_of(content, function, arguments, keywords)
        if activation is not None:
            content.activate(activation)
            return changed
        total = _summed(known.addends(arguments, keywords), content) if function in known.SUMS else None
        if total is not None:
            content.replace(total)
            return changed
    others = _read((arguments[1:], keywords))
    content.settle()
    values = content.computed()
    function(values, *others[0], **others[1])
    if tuple(values.shape) != content.shape:  # then the network goes on unfused
        raise TypeError(f"{function.__name__} changes the shape of maps in place")
    return changed


def _later(function: known.Function, arguments: Any, keywords: dict[str, Any]) -> Content | None:
    """What gives the result of a function; None if it is to be called now."""
    if function in known.SUMS:
        return _summed(known.addends(arguments, keywords))
    if function in known.CONCATENATIONS:
        return _beside(known.joined(arguments, keywords))
    maps = arguments[0] if arguments else None
    if not isinstance(maps, Maps):
        return None
    content = maps.content
    activation = _activation_of(content, function, arguments, keywords)
    if activation is not None:
        return content.activated(activation)
    if known.is_doubling(function, arguments, keywords):
        return _enlarged(content)
    return None


def _activation_of(
    content: Content, function: known.Function, arguments: Any, keywords: dict[str, Any]
) -> Activation | None:
    """The activation that a call computes, if a convolution can do it; behind a sum, only ReLU is known to oneDNN."""
    if content.convolve is None:
        return None
    activation = activation_of(function, arguments, keywords)
    return activation if content.added is None or activation == RELU else None


def _summed(pair: tuple[Any, Any] | None, waiting: Content | None = None) -> Content | None:
    """The sum of a convolution that waits, this one or any, and other maps of its shape."""
    if pair is None or not all(isinstance(one, Tensor) for one in pair):
        return None
    one, other = pair
    if one.shape != other.shape or one.dtype != other.dtype:
        return None
    contents = [part.content if isinstance(part, Maps) else None for part in pair]
    if contents[0] is contents[1]:
        return None
    for first, second, values in ((contents[0], contents[1], other), (contents[1], contents[0], one)):
        if first is not None and first.may_sum and waiting in (None, first):
            return first.plus(values if second is None else second.computed(), second)
    return None


def _enlarged(content: Content) -> Content | None:
    if content.parts or content.is_shared:
        return None
    content.computed()
    count, channels, height, width = content.shape
    shape = count, channels, 2 * height, 2 * width
    return Content(shape, content.dtype, parts=(Part(content, True),), sources=(content,))


def _beside(given: Sequence[Any] | None) -> Content | None:
    """Maps beside each other, some of them enlarged."""
    contents = [one.content for one in given or () if isinstance(one, Maps)]
    if given is None or len(contents) < len(given) or not any(content.parts for content in contents):
        return None
    first = contents[0]
    if any(one.is_shared or one.dtype != first.dtype or one.shape[2:] != first.shape[2:] for one in contents):
        return None
    parts = tuple(_parts(contents))
    shape = first.shape[0], sum(one.shape[1] for one in contents), *first.shape[2:]
    return Content(shape, first.dtype, parts=parts, sources=tuple(part.content for part in parts))


def _parts(contents: Sequence[Content]) -> Iterator[Part]:
    for content in contents:
        if content.parts:
            yield from content.parts
        else:
            content.computed()
            yield Part(content, False)
