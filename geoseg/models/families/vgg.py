"""smp's VGGs, made without the fully connected layers that smp makes, initialises and deletes.

In: a name, bands, a factor of all channels. Out: an encoder of smp with fresh weights, named as smp names them.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("_bn", ""))
"""Names of smp's VGGs; with _bn, each convolution is followed by a batch normalisation."""


LEAST = 4
"""Least channels of a layer: smp takes a first map of 3 for the image."""


def build_vgg(name: str, bands: int, width: float = 1.0) -> nn.Module:
    """Build a VGG of smp, its channels multiplied by a factor.

    The fully connected layers, which have eight times as many weights as all others, stay on the meta device.
    """
    import segmentation_models_pytorch as smp

    entry, device = smp.encoders.encoders[name], torch.get_default_device()
    parameters = copy.deepcopy(entry["params"])
    scaled = {part: [_times(value, width) for value in parameters[part]] for part in ("out_channels", "config")}
    with torch.device("meta"):
        encoder: nn.Module = entry["encoder"](**parameters | scaled)
        encoder.set_in_channels(bands, pretrained=False)  # type: ignore[operator]  # a method of smp's encoders
    encoder.to_empty(device=device)
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return encoder


def _times(channels: int | str, width: float) -> int | str:
    """Channels times a factor; the mark of a pooling as it is."""
    return channels if isinstance(channels, str) else max(LEAST, round(channels * width))
