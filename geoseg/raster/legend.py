"""Legends: names and colours of class ids."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from geoseg.spec import ClassSpec

CLASSES_TAG = "GEOSEG_CLASSES"
"""Tag of a class raster: a JSON list of {"id": int, "name": str, "color": "#rrggbb"}."""


@dataclass(frozen=True)
class Legend:
    """Names and colours of class ids; the name of a class without one is its number."""

    names: dict[int, str] = field(default_factory=dict)
    """Class names by id."""
    colors: dict[int, str] = field(default_factory=dict)
    """Class colours by id, as #rrggbb."""

    codes: dict[int, int] = field(default_factory=dict)
    """Values that stand for classes in label rasters, by id, where they are others than the ids."""

    @classmethod
    def of(cls, classes: Iterable[ClassSpec]) -> Legend:
        """Make the legend of some classes."""
        classes = tuple(classes)
        return cls({c.id: c.name for c in classes}, {c.id: c.color for c in classes})

    def completed_by(self, other: Legend) -> Legend:
        """The same legend, with another's names and colours where it has none."""
        return Legend(other.names | self.names, other.colors | self.colors, other.codes | self.codes)

    def name(self, class_id: int) -> str:
        """Name of a class, or its id as text."""
        return self.names.get(class_id, str(class_id))

    def classes(self, ids: Iterable[int]) -> tuple[ClassSpec, ...]:
        """Classes for some ids, with names and colours; a missing colour is chosen so that similar ids differ.

        255 may be among the ids: in a raster whose nodata is another value it is a class.
        """
        return tuple(
            ClassSpec.model_construct(id=k, name=self.name(k), color=self.colors.get(k) or _any_color(k)) for k in ids
        )


def _any_color(class_id: int) -> str:
    """A colour for a class that has none: hues of successive ids are a golden section apart."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1, 0.5, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def class_tags(classes: Sequence[ClassSpec]) -> dict[str, str]:
    """Tags of a raster that name the classes: one per class for people, and CLASSES_TAG for programs."""
    return {f"CLASS_{c.id}": c.name for c in classes} | {CLASSES_TAG: json.dumps([c.model_dump() for c in classes])}
