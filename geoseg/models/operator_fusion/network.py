"""A network whose convolutions do what comes before and behind them. In: a trained network. Out: a copy, faster.

Networks are not analysed: their convolutions give maps that wait, and find out what follows when it comes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.convolution_padding import is_padded_alike, padding_of
from geoseg.models.operator_fusion.activations import NONE, RELU, Activation
from geoseg.models.operator_fusion.convolution import FusedConv2d
from geoseg.models.operator_fusion.maps import Content, Maps, plain
from geoseg.models.operator_fusion.weights import Weights
from geoseg.models.padding import has_own_hooks
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.shared_copy import shared_copy

_PROBE_PX = 64
"""Side of the window that is forwarded, in pixels."""
_TOLERANCE = 1e-3
"""Largest difference of logits that counts as rounding, as a share of the largest logit."""


def fuse_operators(network: SegmentationNetwork) -> SegmentationNetwork:
    """A copy of a network on the CPU that shares its weights, which must be final.

    Returns the network itself if PyTorch cannot fuse here, if it has no convolutions, does not take the probe window,
    or if the logits differ by more than rounding.
    """
    if not fuses():
        return network
    fused = shared_copy(network).eval()
    layers = [name for name, one in fused.named_modules() if one is not fused.body and _is_fusible(one)]
    for name in layers:
        layer = fused.get_submodule(name)
        padding = padding_of(layer)  # type: ignore[arg-type]
        assert padding is not None
        fused.set_submodule(name, FusedConv2d(layer, padding))  # type: ignore[arg-type]
    fused.normalize = WatchedNormalize(fused.normalize)
    fused.register_forward_hook(_as_floats)
    return fused if layers and _is_same(network, fused) else network


def _is_fusible(layer: nn.Module) -> bool:
    return not has_own_hooks(layer) and is_padded_alike(layer)


class WatchedNormalize(Normalize):
    """Normalisation whose values nobody changes without notice."""

    def __init__(self, normalize: Normalize):
        nn.Module.__init__(self)
        self.register_buffer("mean", normalize.mean)
        self.register_buffer("std", normalize.std)

    def forward(self, image: Tensor) -> Tensor:
        """Normalise band values (B, C, H, W)."""
        return Maps.of(Content.of(super().forward(image)))


def _as_floats(_module: nn.Module, _inputs: tuple[Any, ...], logits: Any) -> Any:
    return plain(logits)


def _is_same(network: SegmentationNetwork, fused: SegmentationNetwork) -> bool:
    """Whether a fused network gives the same logits for a window; finds which of its layers cannot wait."""
    mean, std = network.normalize.mean, network.normalize.std
    noise = torch.randn(1, len(mean), _PROBE_PX, _PROBE_PX, generator=torch.Generator().manual_seed(0))
    window = noise * std + mean
    try:
        with torch.inference_mode():
            wanted, found = network(window), fused(window)
    except Exception:  # such as a network of one size
        return False
    for module in fused.modules():
        if isinstance(module, FusedConv2d):
            module.end_trial()
    return bool((found - wanted).abs().max() <= _TOLERANCE * wanted.abs().max())


@cache
def fuses() -> bool:
    """Whether this PyTorch has oneDNN's fused convolutions, and they are right."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 16, 3, padding=1)
    values, added = torch.randn(1, 3, 9, 9, generator=generator), torch.randn(1, 16, 9, 9, generator=generator)
    try:
        with torch.inference_mode():
            given = Weights(layer, layer.weight, layer.bias, torch.float32)
            plain_one, clamped = (given.convolved(values, (1, 1), None, one)
                                  for one in (NONE, Activation("hardtanh", (0.0, 0.5))))  # fmt: skip
            summed = given.convolved(values, (1, 1), added, RELU)
            wanted = layer(values)
    except (AttributeError, RuntimeError, TypeError):  # a PyTorch without oneDNN, or with other functions
        return False
    pairs = (plain_one, wanted), (clamped, wanted.clamp(0.0, 0.5)), (summed, (wanted + added).relu())
    return all(torch.allclose(*pair, atol=1e-5) for pair in pairs)
