"""How a class raster is generalised and written as polygons."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from geoseg.spec.base import FilePath, Spec

PX = "px"
"""What follows a length or an area that is given in pixels."""


def _measured(value: Any) -> float | str:
    """A number, or a text that ends in px, if it makes sense as a length or an area."""
    text = str(value).strip()
    try:
        size = float(text.removesuffix(PX))
    except ValueError:
        raise ValueError("give a number of metres or square metres without a unit, or of pixels, e.g. 4px") from None
    if not 0 < size < math.inf:
        raise ValueError("give a number above 0")
    return f"{size:g}{PX}" if text.endswith(PX) else size


Measure = Annotated[float | str, BeforeValidator(_measured)]
"""A positive number of metres or square metres, or of pixels: 2.5, or 4px."""
Box = tuple[float, float, float, float]


class VectorSpec(Spec):
    """How a class raster is generalised and written as polygons."""

    majority: int | None = Field(default=None, ge=3, le=31)
    """Give each pixel the class that most pixels have in a square of this many pixels a side around it; an odd
    number."""
    fill_holes: Measure | None = None
    """Fill holes smaller than this, in m², or in pixels (9px): ground that one region encloses, with or without
    data."""
    min_area: Measure | None = None
    """Minimum mapping unit: merge regions smaller than this, in m², or in pixels (9px), into the neighbour with which
    they share the longest border."""
    simplify: Measure | None = None
    """Leave out vertices as long as all of them stay nearer than this to the border, in metres, or in pixels (1px).
    Neighbours keep a common border."""
    smooth: bool = False
    """Round the corners of polygons. Neighbours keep a common border."""
    connectivity: Literal[4, 8] = 4
    """8: regions of a class that touch at a corner are one multipolygon."""
    classes: tuple[str, ...] | None = None
    """Names or ids of the classes that become polygons."""
    dissolve: bool = False
    """One multipolygon for each class."""
    to_crs: str | None = None
    """Coordinate system of the polygons, e.g. EPSG:4326; None means the raster's."""
    aoi: FilePath | None = None
    """Vector file, in any CRS, whose polygons are the area of interest; nothing outside is read. Where it has several
    layers, FILE|layername=NAME."""
    bbox: Box | None = None
    """Left, bottom, right and top of the area of interest, in the raster's CRS."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.majority is not None and self.majority % 2 == 0:
            raise ValueError(f"majority {self.majority} is even: give an odd number, e.g. {self.majority + 1}")
        if self.aoi is not None and self.bbox is not None:
            raise ValueError("both aoi and bbox are given: give one of them")
        if self.bbox is not None and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(
                f"bbox {', '.join(f'{value:g}' for value in self.bbox)} is empty: give left, bottom, right, top"
            )
        return self

    def for_finished_raster(self) -> VectorSpec:
        """What is left to do once the raster has been cut to the area and generalised."""
        settings = {name: getattr(self, name) for name in VectorSpec.model_fields}
        done = dict.fromkeys(("majority", "fill_holes", "min_area", "aoi", "bbox"))
        return VectorSpec(**(settings | done))

    @property
    def generalizes(self) -> bool:
        """Whether the class raster changes before it becomes polygons."""
        return any(value is not None for value in (self.majority, self.fill_holes, self.min_area))
