"""Activations that oneDNN applies to the outputs of a convolution. In: a call of a function. Out: its name there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.models import tensor_functions as known


class Activation(NamedTuple):
    """An activation as oneDNN knows it."""

    name: str
    numbers: tuple[float, ...] = ()
    algorithm: str = ""


NONE = Activation("none")
RELU = Activation("relu")
AFTER_SUMS = NONE, RELU
"""What may become of a sum."""
_NAMES = {
    functional.silu: "swish", torch.sigmoid: "sigmoid", Tensor.sigmoid: "sigmoid", functional.hardswish: "hardswish",
}  # fmt: skip


def activation_of(function: known.Function, arguments: Sequence[Any], keywords: dict[str, Any]) -> Activation | None:
    """The activation that a call computes; None if it computes something else."""
    if function in known.RECTIFIERS:
        return RELU
    if function in known.ACTIVATIONS:
        return Activation("hardtanh", known.bounds(function, arguments, keywords))
    if function is functional.gelu:
        return Activation("gelu", algorithm=keywords.get("approximate", "none"))
    name = _NAMES.get(function)
    return None if name is None else Activation(name)
