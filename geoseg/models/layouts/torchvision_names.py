"""Weights of torchvision's DeepLabV3 under the names of geoseg's network of the same layers.

In: weights of `torchvision.models.segmentation.deeplabv3_resnet50` or `..._resnet101`, as Raster Vision also has them.
Out: weights of the architecture `torchvision_deeplabv3`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geoseg.models.layouts.found import without

ARCHITECTURE = "torchvision_deeplabv3"
OF_TORCHVISION = {"backbone.layer4.0.conv1.weight", "classifier.0.convs.0.0.weight"}
"""Names that its weights have, among others."""
OF_RESNET101 = "backbone.layer3.22.conv1.weight"
"""A name that the deeper one has."""
PARTS = {
    "backbone.": "encoder.",
    "classifier.0.": "decoder.aspp.",
    "classifier.1.": "decoder.conv.",
    "classifier.2.": "decoder.bn.",
    "classifier.4.": "segmentation_head.0.",
}
"""Begins of names, and those of geoseg's."""
BESIDE = "aux_classifier."
"""Begin of the names of the head of an auxiliary loss."""
SPLIT = "backbone.conv1.1.0.weight", "backbone.conv1.1.1.weight"
"""Kernels for three bands and for further ones, whose outputs Raster Vision adds: one convolution in two parts."""


def is_deeplab(weights: Mapping[str, Tensor]) -> bool:
    """Whether weights are torchvision's, by their names."""
    return weights.keys() >= OF_TORCHVISION


def network_of(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Architecture and arguments, as fields of an ImportSpec."""
    backbone = "resnet101" if OF_RESNET101 in weights else "resnet50"
    return {"architecture": ARCHITECTURE, "arguments": {"backbone": backbone}}


def under_own_names(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Weights under geoseg's names, and notices on what was dropped or joined."""
    kept, notices = without(weights, BESIDE)
    if kept.keys() >= {*SPLIT}:
        kept["backbone.conv1.weight"] = torch.cat([kept.pop(name) for name in SPLIT], dim=1)
        notices += ("the first convolution's kernels for three bands and for the others are joined",)
    return {_own_name(name): tensor for name, tensor in kept.items()}, notices


def _own_name(name: str) -> str:
    begin = next((theirs for theirs in PARTS if name.startswith(theirs)), "")
    return PARTS.get(begin, "") + name.removeprefix(begin)
