"""The mean of the weights of networks that share a start: a model soup (Wortsman et al. 2022).

In: state dicts of one architecture. Out: their mean; and the share of the kernels that are alike in two of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
"""Weights and buffers by name: the state dict of a network."""

ENCODER = ".encoder."
"""Part of the names of an encoder's weights."""
LEAST_COSINE = 0.3
"""Cosine of two kernels above which they come from one start: those of independent random starts have one near 0."""
LEAST_WEIGHTS = 256
"""Weights of the smallest kernel whose cosine is asked: that of smaller ones is large by chance."""


def mean_weights(states: Sequence[Weights]) -> dict[str, Tensor]:
    """Mean of weights and buffers, computed in float64 and rounded once; that of equal ones is bit for bit the same.

    Whole numbers, as the counters of batch normalisation, are rounded to the nearest one.

    Args:
        states: one or more, with the same names, shapes and types.
    """
    return {name: _mean([state[name] for state in states]) for name in states[0]}


def share_alike(one: Weights, other: Weights) -> float:
    """Share of the kernels whose cosine is at least `LEAST_COSINE`, in the encoder or outside of it, whichever is less.

    Kernels of networks that were fine-tuned from the same weights point in about the same direction; those of networks
    that were initialised at random do not, and the mean of both classifies nothing. A pretrained encoder in common is
    not enough. It is 1 if no kernel is large enough.
    """
    parts: dict[bool, list[bool]] = {}
    for name, kernel in one.items():
        if _is_kernel(kernel):
            parts.setdefault(ENCODER in name, []).append(_cosine(kernel, other[name]) >= LEAST_COSINE)
    return min((sum(part) / len(part) for part in parts.values()), default=1.0)


def is_half(network: nn.Module) -> bool:
    """Whether all kernels hold values of float16, as those of bundles in half the size do; statistics never do."""
    kernels = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    return all(torch.equal(kernel, kernel.half().to(kernel.dtype)) for kernel in kernels)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    mean = torch.stack([tensor.double() for tensor in tensors]).mean(dim=0)
    dtype = tensors[0].dtype
    return mean.to(dtype) if dtype.is_floating_point else mean.round().to(dtype)


def _is_kernel(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= LEAST_WEIGHTS


def _cosine(one: Tensor, other: Tensor) -> float:
    return float(torch.cosine_similarity(one.double().flatten(), other.double().flatten(), dim=0))
