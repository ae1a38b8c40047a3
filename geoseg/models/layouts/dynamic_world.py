"""Dynamic World's weights for Sentinel-2 (google/dynamicworld, model/forward), converted to safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.models.layouts.found import Example, Found, said
from geoseg.models.layouts.source import Source
from geoseg.spec import ImportSpec, NetworkSpec

ARCHITECTURE = "dynamic_world"
NAMES = {"centre", "spread", "stem.0.weight", "block1.skip.0.weight", "block3.skip.0.weight", "side.0.0.weight"}
"""Names that such weights have, among others."""
PARTS = {"block3.": "decoder.block3.", "head.": "classifier.", "centre": "encoder.squash.centre",
         "spread": "encoder.squash.spread"}  # fmt: skip
"""Begins of their names, and of geoseg's; all others are the encoder's."""
TABLES = {"centre", "spread"}
"""Statistics of the bands (1, C, 1, 1)."""
BANDS = "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22"
CLASSES = (
    ("water", "#419bdf"), ("trees", "#397d49"), ("grass", "#88b053"), ("flooded vegetation", "#7a87c6"),
    ("crops", "#e49635"), ("shrub and scrub", "#dfc35a"), ("built", "#c4281b"), ("bare", "#a59b8f"),
    ("snow and ice", "#b39fe1"),
)  # fmt: skip
"""Classes in the order of the channels, with the colours in which Dynamic World is published."""
SAYS: Mapping[str, Any] = {
    "architecture": ARCHITECTURE,
    "arguments": {"logarithm": True},
    "bands": BANDS,
    "dtype": "uint16",
    "mean": (0,),
    "std": (1,),
    "classes": [{"name": name, "color": color} for name, color in CLASSES],
    "resolution": 10,
    "tile": 512,
    "purpose": "Land cover of any place on the earth from a Sentinel-2 scene, in nine classes.",
    "data": "Dynamic World: Sentinel-2 scenes of 2017 to 2019, labelled by experts and by others.",
    "credits": "Dynamic World, by Google in partnership with National Geographic Society and World Resources Institute "
    "(Brown et al. 2022)",
    "licence": "Apache-2.0",
    "limits": "For Sentinel-2 Level-1C: reflectances at the top of the atmosphere x 10,000, without the offset of "
    "1,000 that processing baselines from 04.00 on add; Level-2A shifts the result. It has no class for clouds.",
}


class DynamicWorld:
    """Reads the converted weights."""

    title = "weights of Dynamic World"

    def recognises(self, source: Source) -> bool:
        """By their names."""
        return source.weights.keys() >= NAMES

    def read(self, source: Source) -> Found:
        """The network, which normalises by itself, and all that is published of it."""
        weights = {_own_name(name): _own_shape(name, tensor) for name, tensor in source.weights.items()}
        lines = ("the network takes values of Sentinel-2 Level-1C as they are: mean 0, std 1",)
        return Found(weights, said(SAYS, source.shown), notices=lines)

    def example(self, folder: Path) -> Example:
        """Random weights under the names of the file."""
        from safetensors.torch import save_file

        from geoseg.models.families.building import build_body

        network = NetworkSpec(architecture=ARCHITECTURE, arguments=SAYS["arguments"])
        own = build_body(network, len(BANDS), len(CLASSES)).state_dict()
        weights = {_their_name(name): tensor for name, tensor in own.items() if not name.endswith("tracked")}
        tables = {name: weights[name].view(1, -1, 1, 1) for name in TABLES}
        save_file(weights | tables, folder / "weights.safetensors")
        return Example(folder / "weights.safetensors", ImportSpec())


def _own_name(name: str) -> str:
    for theirs, own in PARTS.items():
        if name.startswith(theirs):
            return own + name.removeprefix(theirs)
    return f"encoder.{name}"


def _their_name(name: str) -> str:
    for theirs, own in PARTS.items():
        if name.startswith(own):
            return theirs + name.removeprefix(own)
    return name.removeprefix("encoder.")


def _own_shape(name: str, tensor: Tensor) -> Tensor:
    return tensor.flatten() if name in TABLES else tensor


DYNAMIC_WORLD = DynamicWorld()
