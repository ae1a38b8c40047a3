"""Functions of PyTorch that 8-bit values pass without becoming floats, by what they do to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Function = Callable[..., Any]

_RECTIFIERS = frozenset({functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_})
ACTIVATIONS = _RECTIFIERS | {functional.relu6, functional.hardtanh}
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
_NOT_IN_PLACE = frozenset({"__index__", "__int__", "__invert__"})


def is_in_place(function: Function, keywords: dict[str, Any]) -> bool:
    """Whether a call changes its first argument."""
    name = getattr(function, "__name__", "")
    by_operator = name.startswith("__i") and name.endswith("__") and name not in _NOT_IN_PLACE
    return by_operator or (name.endswith("_") and not name.endswith("__")) or bool(keywords.get("inplace"))


def bounds(function: Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> tuple[float, float]:
    """Least and largest value that an activation gives."""
    if function in _RECTIFIERS:
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
