"""Functions of PyTorch that maps pass in another form than as plain floats, by what they do to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[..., Any]

RECTIFIERS = frozenset({functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
ACTIVATIONS = RECTIFIERS | {functional.relu6, functional.hardtanh}
"""Clamp values, at `bounds`."""
MAX_POOLINGS = frozenset({functional.max_pool2d, torch.max_pool2d})
_RESIZES = frozenset({functional.interpolate, functional.upsample})
_INNER_MODES = frozenset({"nearest", "nearest-exact", "bilinear"})
"""Others go beyond the values that they are given, or are not there for integers."""
CONCATENATIONS = frozenset({torch.cat, torch.concat, torch.concatenate})
SUMS = frozenset({torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__})
COPIES = frozenset({Tensor.contiguous, Tensor.clone, torch.clone, functional.dropout, functional.dropout2d})
"""Give the same values again; dropout, as networks are in evaluation mode."""
QUESTIONS = frozenset({
    *torch.overrides.get_default_nowrap_functions(), Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point,
    Tensor.stride, Tensor.is_contiguous, Tensor.__len__,
    *(getattr(Tensor, name).__get__ for name in ("shape", "ndim", "dtype", "device", "layout", "requires_grad")),
})  # fmt: skip
"""Ask for a tensor's shape, type or place, and not for its values."""
FRESH = frozenset({
    *ACTIVATIONS, *MAX_POOLINGS, *CONCATENATIONS, *_RESIZES, torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__,
    torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__rsub__, torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__,
    torch.div, Tensor.div, Tensor.__truediv__, torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh,
    functional.silu, functional.gelu, functional.hardswish, functional.hardsigmoid, functional.leaky_relu,
    functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.batch_norm, functional.softmax, torch.softmax,
    Tensor.softmax, torch.mean, Tensor.mean, torch.amax, Tensor.amax,
})  # fmt: skip
"""Give values of their own, and change none, unless they are called in place."""
_NOT_IN_PLACE = frozenset({"__index__", "__int__", "__invert__"})
_INPLACE_AT = {
    functional.relu: 1, functional.relu6: 1, functional.silu: 1, functional.hardswish: 1, functional.hardsigmoid: 1,
    functional.leaky_relu: 2, functional.hardtanh: 3, functional.dropout: 3, functional.dropout2d: 3,
}  # fmt: skip
"""Position of the argument that says whether a call is in place."""


def is_in_place(function: Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Whether a call changes its first argument."""
    at = _INPLACE_AT.get(function)
    if at is not None and len(arguments) > at:
        return bool(arguments[at])
    name = getattr(function, "__name__", "")
    by_operator = name.startswith("__i") and name.endswith("__") and name not in _NOT_IN_PLACE
    return by_operator or (name.endswith("_") and not name.endswith("__")) or bool(keywords.get("inplace"))


def bounds(function: Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> tuple[float, float]:
    """Least and largest value that an activation gives."""
    if function in RECTIFIERS:
        return 0.0, math.inf
    if function is functional.relu6:
        return 0.0, 6.0
    low, high = (arguments[i] if len(arguments) > i else keywords.get(name, default)
                 for i, name, default in ((1, "min_val", -1.0), (2, "max_val", 1.0)))  # fmt: skip
    return float(low), float(high)


def is_inner_resize(function: Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Whether a call resizes maps to values between those that it is given."""
    mode = arguments[3] if len(arguments) > 3 else keywords.get("mode", "nearest")
    return function in _RESIZES and mode in _INNER_MODES


def is_doubling(function: Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> bool:
    """Whether a call enlarges maps (B, C, h, w) twofold, so that each pixel becomes two by two of its value."""
    if function not in _RESIZES or arguments[0].ndim != 4:
        return False
    given = dict(zip(("values", "size", "scale_factor", "mode"), arguments, strict=False)) | keywords
    if given.get("mode", "nearest") not in ("nearest", "nearest-exact"):
        return False
    size, scale = given.get("size"), given.get("scale_factor")
    if size is None:
        return scale == 2 or (isinstance(scale, (list, tuple)) and list(scale) == [2, 2])
    wanted = [size, size] if isinstance(size, int) else list(size)
    return wanted == [2 * side for side in arguments[0].shape[2:]]


def addends(arguments: Sequence[Any], keywords: dict[str, Any]) -> tuple[Any, Any] | None:
    """The two addends of a sum; None if one of them is scaled."""
    if len(arguments) != 2 or keywords:
        return None
    return arguments[0], arguments[1]


def joined(arguments: Sequence[Any], keywords: dict[str, Any]) -> Sequence[Any] | None:
    """The maps that are concatenated along their channels; None if it is along another axis."""
    axis = arguments[1] if len(arguments) > 1 else keywords.get("dim", 0)
    maps: Sequence[Any] = arguments[0] if arguments else keywords.get("tensors", ())
    return maps if axis in (1, -3) and maps and all(one.ndim == 4 for one in maps) else None


def is_spatial(index: Any) -> bool:
    """Whether an index of maps (B, C, h, w) leaves all their channels, and them maps."""
    if not isinstance(index, tuple):
        return isinstance(index, slice)
    channels = index[1] if len(index) > 1 else slice(None)
    return len(index) <= 4 and all(isinstance(one, slice) for one in index) and channels == slice(None)
