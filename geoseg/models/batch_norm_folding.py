"""Batch normalisations folded into the convolutions before them: the same logits, fewer passes over memory.

In: a trained network. Out: a copy that shares all other weights. Pairs of convolution and normalisation are found by
forward hooks while a small window is forwarded.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoseg.models.shared_copy import shared_copy

PROBE_PX = 64
"""Side of the window that is forwarded, in pixels."""
TOLERANCE = 1e-3
"""Largest difference of logits that counts as rounding, as a share of the largest logit."""


def folded(network: nn.Module, bands: int) -> nn.Module:
    """Fold the batch normalisations of a network (B, C, H, W) -> (B, K, H, W) on the CPU; return a copy.

    Returns the network itself if it has no batch normalisation, cannot forward the probe window, or if the logits of
    the copy differ by more than `TOLERANCE`.
    """
    network.eval()
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return network
    window = torch.randn(1, bands, PROBE_PX, PROBE_PX, generator=torch.Generator().manual_seed(0))
    statistics = getattr(network, "normalize", None)
    if statistics is not None:
        window = window * statistics.std + statistics.mean
    try:
        pairs, wanted = _watch(network, window)
        if not pairs:
            return network
        copied = shared_copy(network)
        for convolution, norm in pairs:
            _fold(copied, convolution, norm)
        with torch.inference_mode():
            difference = (copied(window) - wanted).abs().max()
    except (RuntimeError, ValueError, AssertionError, TypeError):  # e.g. a network of one size
        return network
    return copied if difference <= TOLERANCE * wanted.abs().max() else network


def _watch(network: nn.Module, window: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Pairs of a convolution and the normalisation that takes its output, by name; and the network's logits."""
    makers: dict[int, str] = {}
    held: list[Tensor] = []  # keeps outputs alive, so that no id is used twice
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []
    hooks = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            if isinstance(module, nn.Conv2d):
                held.append(output)
                makers[id(output)] = name
            elif id(inputs[0]) in makers:
                pairs.append((makers[id(inputs[0])], name))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            hooks.append(module.register_forward_hook(watch(name)))
    try:
        with torch.inference_mode():
            answer: Tensor = network(window)
    finally:
        for handle in hooks:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1], answer


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    """Replace a convolution and its normalisation by one convolution."""
    one, other = network.get_submodule(convolution), network.get_submodule(norm)
    assert isinstance(one, nn.Conv2d)
    assert isinstance(other, nn.BatchNorm2d)
    network.set_submodule(convolution, fuse_conv_bn_eval(one, other))
    network.set_submodule(norm, getattr(other, "act", nn.Identity()))  # those of timm may also activate
