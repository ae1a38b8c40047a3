"""Encoders made of PyTorch alone, by their names in a spec.

In: a name, bands, a depth. Out: an encoder with the weights' names and the arithmetic of timm's. A new one is a file
here with a subclass of `Encoder`, and its names in `ENCODERS`, or in `FOR_SMP` if neither smp nor timm has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geoseg.models.families.encoders import alexnet, efficientnet_lite, resnet, shunted
from geoseg.models.families.encoders.encoder import Encoder

ENCODERS: dict[str, Callable[[str, int, int], Encoder]] = {
    **dict.fromkeys(resnet.BLOCKS, resnet.ResNet.named),
    **dict.fromkeys(efficientnet_lite.SCALES, efficientnet_lite.EfficientNetLite.named),
}
"""Build an encoder from its name, the number of bands, and its depth of 1 to 5 maps."""
FOR_SMP: dict[str, dict[str, Any]] = {
    alexnet.NAME: {
        "encoder": alexnet.AlexNet,
        "params": {},
        "pretrained_settings": {"imagenet": {"url": alexnet.PRETRAINED_URL}},
    },
    **{
        name: {"encoder": shunted.ShuntedTransformer, "params": {"size": size}, "pretrained_settings": None}
        for name, size in shunted.SIZES.items()
    },
}
"""Encoders that smp lacks, as entries of its own table: all networks that take encoders of smp take them.

smp builds one from `params`, a depth and an output stride, then calls its `set_in_channels`.
"""
