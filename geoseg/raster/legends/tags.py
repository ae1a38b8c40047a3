"""The legend in the tags of a class raster that geoseg wrote."""

from __future__ import annotations

import json
from pathlib import Path

import rasterio

from geoseg.core.errors import SpecError
from geoseg.raster.legend import CLASSES_TAG, Legend
from geoseg.raster.legends.bases import InRaster
from geoseg.raster.legends.place import LegendPlace, UnreadableLegend, class_name
from geoseg.spec import parse_json


class Tags(InRaster):
    """A list of all classes in one tag."""

    names_all = True

    def find(self, place: LegendPlace) -> Legend:
        """The legend in a raster's tags."""
        text = place.raster.tags().get(CLASSES_TAG)
        if text is None:
            return Legend()
        try:
            entries = parse_json(text, CLASSES_TAG)
            names = {int(entry["id"]): class_name(entry["name"]) for entry in entries}
            colors = {int(entry["id"]): str(entry["color"]) for entry in entries if "color" in entry}
            return Legend(names, colors, {int(entry["id"]): int(entry["code"]) for entry in entries if "code" in entry})
        except (SpecError, ValueError, TypeError, KeyError, OverflowError):
            raise UnreadableLegend(f"the tag {CLASSES_TAG} of {place.raster.name} cannot be read") from None

    def example(self, raster: Path, legend: Legend) -> Path:
        """Add the tag to a raster."""
        entries = [{"id": k, "name": name, "color": legend.colors[k]} for k, name in legend.names.items()]
        with rasterio.open(raster, "r+") as dataset:
            dataset.update_tags(**{CLASSES_TAG: json.dumps(entries)})
        return raster


TAGS = Tags()
