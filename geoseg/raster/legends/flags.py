"""Flags of the CF conventions in a band's tags: flag_values and flag_meanings, with flag_colors in some products."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import rasterio

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import InRaster
from geoseg.raster.legends.place import LegendPlace, class_name, whole

_NUMBER = re.compile(r"-?\d+")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Flags(InRaster):
    """Values, words and colours in the same order."""

    def find(self, place: LegendPlace) -> Legend:
        """The legend in the tags of a raster's first band, else in those of the file."""
        tags: Mapping[str, str] = place.raster.tags() | place.raster.tags(1)
        values = [whole(text) for text in _NUMBER.findall(tags.get("flag_values", ""))]
        words, colors = tags.get("flag_meanings", "").split(), _COLOR.findall(tags.get("flag_colors", ""))
        if len(words) != len(values):
            return Legend()
        names = {v: class_name(word.replace("_", " ")) for v, word in zip(values, words, strict=True) if v is not None}
        if len(colors) != len(values):
            return Legend(names)
        return Legend(names, {v: c.lower() for v, c in zip(values, colors, strict=True) if v is not None})

    def example(self, raster: Path, legend: Legend) -> Path:
        """Add the tags to a raster's first band."""
        with rasterio.open(raster, "r+") as dataset:
            dataset.update_tags(
                1,
                flag_values="{" + ",".join(map(str, legend.names)) + "}",
                flag_meanings=" ".join(name.replace(" ", "_") for name in legend.names.values()),
                flag_colors=" ".join(legend.colors[k] for k in legend.names),
            )
        return raster


FLAGS = Flags()
