"""What class ids mean: names and colours."""

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
    """What class ids mean; a class without a name goes by its number."""

    names: dict[int, str] = field(default_factory=dict)
    """Class names by id."""
    colors: dict[int, str] = field(default_factory=dict)
    """Class colours by id, as #rrggbb."""

    @classmethod
    def of(cls, classes: Iterable[ClassSpec]) -> Legend:
        """What the ids of some classes mean."""
        classes = tuple(classes)
        return cls({c.id: c.name for c in classes}, {c.id: c.color for c in classes})

    def name(self, class_id: int) -> str:
        """Name of a class."""
        return self.names.get(class_id, str(class_id))

    def classes(self, ids: Iterable[int]) -> tuple[ClassSpec, ...]:
        """Some classes with names and colours; one without a colour gets one that differs from its neighbours'.

        In a raster of which 255 is not nodata it is a class, which no model of geoseg has, but which has its style.
        """
        return tuple(
            ClassSpec.model_construct(id=k, name=self.name(k), color=self.colors.get(k) or _any_color(k)) for k in ids
        )


def _any_color(class_id: int) -> str:
    """A colour for a class that has none: hues a golden section apart are never alike."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1, 0.5, 0.85)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def class_tags(classes: Sequence[ClassSpec]) -> dict[str, str]:
    """Tags that name the classes: one for people, class by class, one for programs."""
    return {f"CLASS_{c.id}": c.name for c in classes} | {CLASSES_TAG: json.dumps([c.model_dump() for c in classes])}
