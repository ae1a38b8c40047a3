"""Models of IGN's FLAIR collection (FLAIR-INC): networks of segmentation-models-pytorch with a ResNet-34.

Their weights are below `model.seg_model.`, beside those of the loss. The head has the 19 classes of FLAIR, of which a
model knows 12 or 15; the others had no weight in the loss, and are cut off.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from geoseg.models.layouts.cards import README, licence_of
from geoseg.models.layouts.found import Example, Found, said, stripped
from geoseg.models.layouts.smp_decoders import architecture_by_decoder
from geoseg.models.layouts.source import Source
from geoseg.spec import ImportSpec

PREFIX = "model.seg_model."
"""Begin of the names of the network's weights."""
ENCODER = "resnet34"
CLASSES = (
    ("building", "#db0e9a"), ("pervious surface", "#938e7b"), ("impervious surface", "#f80c00"),
    ("bare soil", "#a97101"), ("water", "#1553ae"), ("coniferous", "#194a26"), ("deciduous", "#46e483"),
    ("brushwood", "#f3a60d"), ("vineyard", "#660082"), ("herbaceous vegetation", "#55ff00"),
    ("agricultural land", "#fff30d"), ("plowed land", "#e4df7c"), ("swimming pool", "#3de6eb"), ("snow", "#ffffff"),
    ("clear cut", "#8ab3a0"), ("mixed", "#6b714f"), ("ligneous", "#c5dc42"), ("greenhouse", "#9999ff"),
    ("other", "#000000"),
)  # fmt: skip
"""FLAIR's classes in the order of the channels, with its colours."""
KNOWN = {"12": (*range(12),), "15": (*range(14), 17)}
"""Channels that models of 12 and of 15 classes know: the last of 15 is the greenhouse, FLAIR's 18th class."""
BANDS = "red", "green", "blue", "nir", "elevation"
MEANS = 105.08, 110.87, 101.82, 106.38, 53.26
STDS = 52.17, 45.38, 44.0, 39.69, 79.3
"""Statistics of the bands in IGN's configurations, in the values of its files."""
NAMED = re.compile(r"name:[ \t]*FLAIR-INC_\w*?_(12|15)cl", re.IGNORECASE)
"""How the head of README.md names a model."""


class Flair:
    """Reads weights and checkpoints of FLAIR-INC."""

    title = "model of FLAIR-INC"

    def recognises(self, source: Source) -> bool:
        """By the names of its weights."""
        return any(name.startswith(PREFIX) for name in source.weights)

    def read(self, source: Source) -> Found:
        """The network, bands, statistics and resolution; classes if a README.md beside the weights says how many.

        Raises:
            ModelError: if its decoder is not known.
        """
        weights = stripped(source.weights, PREFIX)
        says = ImportSpec(
            architecture=architecture_by_decoder(weights, source.shown),
            encoder=ENCODER,
            dtype="uint8",
            resolution=0.2,
            credits="IGN, FLAIR-INC (BD ORTHO)",
            licence=licence_of(source),
        )
        others = sorted({name.partition(".")[0] for name in source.weights if not name.startswith(PREFIX)})
        notices = [f"{part} is dropped: it is no part of the network that classifies" for part in others]
        known = NAMED.search(source.text(README))
        shape = weights.get("segmentation_head.0.weight")
        hints = {}
        update = _of_bands(weights.get("encoder.conv1.weight"))
        if known is not None and shape is not None and shape.shape[0] == len(CLASSES):
            update["classes"] = [_class(channel) for channel in KNOWN[known[1]]]
            notices.append(f"README.md names a model of {known[1]} classes: channels of FLAIR's others are cut off")
        elif shape is not None and shape.shape[0] == len(CLASSES):
            hints["classes"] = _choice()
        return Found(weights, said(says.said | update, source.shown), hints, tuple(notices))

    def example(self, folder: Path) -> Example:
        """A folder as the Hugging Face Hub has it."""
        import segmentation_models_pytorch as smp
        import torch

        model = smp.Unet(ENCODER, encoder_weights=None, classes=len(CLASSES))
        weights = {f"{PREFIX}{name}": tensor for name, tensor in model.state_dict().items()}
        (folder / "model").mkdir()
        torch.save(weights | {"criterion.weight": torch.ones(len(CLASSES))}, folder / "model" / "weights.pth")
        card = "---\nlicense: etalab-2.0\nmodel-index:\n- name: FLAIR-INC_rgb_12cl_resnet34-unet\n---\n"
        (folder / "model" / README).write_text(card, "utf-8")
        return Example(folder / "model", ImportSpec())


def _of_bands(kernels: Tensor | None) -> dict[str, object]:
    """Names and statistics of as many bands as the first kernels have; nothing where these are others."""
    count = 0 if kernels is None else kernels.shape[1]
    if not 3 <= count <= len(BANDS):
        return {}
    return {"bands": BANDS[:count], "mean": MEANS[:count], "std": STDS[:count]}


def _class(channel: int) -> dict[str, object]:
    """A class of FLAIR, with FLAIR's number."""
    name, color = CLASSES[channel]
    return {"name": name, "color": color, "id": channel + 1, "channel": channel}


def _choice() -> str:
    """Lines for a draft: all channels, and which of them a model knows."""
    listed = enumerate(CLASSES)
    lines = [f"- {{name: {name}, color: '{color}', id: {k + 1}, channel: {k}}}" for k, (name, color) in listed]
    said_of = "a model of 12 classes (..._12cl_...) knows channels 0 to 11, one of 15 channels 0 to 13 and 17:"
    return "\n".join([said_of, *lines])


FLAIR = Flair()
