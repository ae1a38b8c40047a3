"""Dilated convolutions whose outer weights lie outside of windows of a size, wherever in them they stand.

Their outer weights meet nothing but padding in training and stay as they began. Larger windows, and the replicated
edges of evaluation, then show them values. In: a network and a size. Out: these rates of dilation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class FarRates:
    """Rates of dilation that reach beyond a window from each of its pixels."""

    rates: tuple[int, ...]
    """The rates, in ascending order; none where all weights of the network can be trained."""
    least_window: int
    """Side of the least window in which all of them can be, in pixels."""


def far_rates(network: nn.Module, bands: int, side: int) -> FarRates:
    """Rates of the dilated convolutions whose outer weights lie outside of windows (1, bands, side, side) everywhere.

    A network that has dilated convolutions forwards one such window of zeros.
    """
    found: dict[int, int] = {}

    def watch(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        for rate, taps, length in zip(layer.dilation, layer.kernel_size, inputs[0].shape[-2:], strict=True):
            if taps > 1 and rate > 1 and rate >= length:
                stride = -(-side // length)
                found[rate] = max(found.get(rate, 0), (rate + 1) * stride)

    dilated = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and max(layer.dilation) > 1]
    hooks = [layer.register_forward_pre_hook(watch) for layer in dilated]
    try:
        if dilated:
            _forward(network, bands, side)
    finally:
        for hook in hooks:
            hook.remove()
    return FarRates(tuple(sorted(found)), max(found.values(), default=0))


def _forward(network: nn.Module, bands: int, side: int) -> Any:
    first, was_training = next(network.parameters()), network.training
    network.eval()
    try:
        with torch.inference_mode():
            return network(torch.zeros(1, bands, side, side, device=first.device))
    finally:
        network.train(was_training)
