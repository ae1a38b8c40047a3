"""Decoders of segmentation-models-pytorch, known by the names of their weights, also by those of former versions.

In: weights with smp's names (encoder., decoder., segmentation_head.). Out: an architecture, or weights with the names
of today's version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from geoseg.core.errors import ModelError

DECODERS = {
    "decoder.blocks.0.SE_hl.1.weight": "manet",
    "decoder.blocks.0.conv1.0.weight": "unet",
    "decoder.blocks.x_0_0.conv1.0.weight": "unetplusplus",
    "decoder.blocks.0.block.0.0.weight": "linknet",
    "decoder.p5.weight": "fpn",
    "decoder.psp.blocks.0.pool.1.0.weight": "pspnet",
    "decoder.aspp.convs.0.0.weight": "deeplabv3",
    "decoder.aspp.0.convs.0.0.weight": "deeplabv3plus",
    "decoder.fpa.conv1.conv.weight": "pan",
    "decoder.feature_norms.0.weight": "upernet",
    "decoder.mlp_stage.0.linear.weight": "segformer",
    "decoder.fpn_bottleneck.0.weight": "smp04_upernet",
}
"""Architectures by a name that their decoder has; the first that is there counts."""
OF_FORMER_UPERNET = re.compile(r"decoder\.fpn_stages\.(\d+)\.")
"""Begin of names in the UPerNet of version 0.4, whose last stage is that of the image itself, and never used."""
OF_FORMER_DEEPLABV3 = "decoder.0.convs.0.0.weight"
"""Name in the DeepLabV3 of versions before 0.5, which is the same network."""
FORMER_PARTS = {"decoder.0.": "decoder.aspp.", "decoder.1.": "decoder.conv.", "decoder.2.": "decoder.bn."}
"""Begins of names in it, and those of today."""


def with_names_of_today(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Weights whose names are those of today's version, without what a former one never used; others as they are."""
    if OF_FORMER_DEEPLABV3 in weights:
        return {_name_of_today(name): tensor for name, tensor in weights.items()}
    stages = {int(found[1]) for name in weights if (found := OF_FORMER_UPERNET.match(name))}
    if not stages:
        return weights
    unused = f"decoder.fpn_stages.{max(stages)}."
    return {name: tensor for name, tensor in weights.items() if not name.startswith(unused)}


def _name_of_today(name: str) -> str:
    begin = next((former for former in FORMER_PARTS if name.startswith(former)), "")
    return FORMER_PARTS.get(begin, "") + name.removeprefix(begin)


def architecture_by_decoder(weights: Mapping[str, Tensor], source: str) -> str:
    """The architecture whose decoder has weights of these names.

    Raises:
        ModelError: if geoseg has none.
    """
    for name, architecture in DECODERS.items():
        if name in with_names_of_today(weights):
            return architecture
    raise ModelError(f"{source} ends in a decoder that geoseg does not know: it knows {', '.join(DECODERS.values())}")
