"""A network whose batch normalisations are part of its convolutions: the same answers, fewer passes over memory.

In: a network that has been trained. Out: a copy. What belongs together is found by watching a small window pass.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoseg.models.padding import EdgeConv2d

PROBE_PX = 64
"""Side of the window that is watched."""
TOLERANCE = 1e-3
"""By how much logits may differ, as a share of the largest one: roundings, no more."""


def folded(network: nn.Module, bands: int) -> nn.Module:
    """A copy of a network (B, C, H, W) -> (B, K, H, W) on the CPU, its batch normalisations folded.

    The network itself, if it has none, or cannot be watched, or would not be the same.
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
        twin = copy.deepcopy(network)
        for convolution, norm in pairs:
            _fold(twin, convolution, norm)
        with torch.inference_mode():
            difference = (twin(window) - wanted).abs().max()
    except (RuntimeError, ValueError, AssertionError, TypeError):  # e.g. a network of one size
        return network
    return twin if difference <= TOLERANCE * wanted.abs().max() else network


def _watch(network: nn.Module, window: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """Names of convolutions and of the normalisations that take what they give, and the network's answer."""
    givers: dict[int, str] = {}
    held: list[Tensor] = []  # so that no address is used twice
    calls: Counter[str] = Counter()
    pairs: list[tuple[str, str]] = []
    hooks = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] += 1
            if isinstance(module, nn.Conv2d):
                held.append(output)
                givers[id(output)] = name
            elif id(inputs[0]) in givers:
                pairs.append((givers[id(inputs[0])], name))

        return hook

    for name, module in network.named_modules():
        if type(module) in (nn.Conv2d, EdgeConv2d) or isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_hook(watch(name)))
    try:
        with torch.inference_mode():
            answer: Tensor = network(window)
    finally:
        for handle in hooks:
            handle.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1], answer


def _fold(network: nn.Module, convolution: str, norm: str) -> None:
    """Replace a convolution by one that also does what a normalisation did."""
    one, other = network.get_submodule(convolution), network.get_submodule(norm)
    assert isinstance(one, nn.Conv2d)
    assert isinstance(other, nn.BatchNorm2d)
    network.set_submodule(convolution, fuse_conv_bn_eval(one, other))
    network.set_submodule(norm, getattr(other, "act", nn.Identity()))  # those of timm may also activate
