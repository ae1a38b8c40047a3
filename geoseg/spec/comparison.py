"""Settings of the comparison of a class raster with labels."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST_COUNT, FilePath
from geoseg.spec.data import LABEL_BUFFER_PX
from geoseg.spec.evaluate import BlocksSpec
from geoseg.spec.legend import LegendSpec


class ComparisonSpec(LegendSpec, BlocksSpec):
    """How a class raster and labels of the same area are read."""

    column: str | None = None
    """Column of the polygons with the class; needed if there are several."""
    layer: str | None = None
    """Layer of the vector file; needed if there are several."""
    buffer_px: float = Field(default=LABEL_BUFFER_PX, ge=0.75, le=LARGEST_COUNT)
    """Radius of points and half the width of lines, in pixels of the class raster: what lies within is compared."""
    outside: str | None = None
    """Name or id of the class of all that lies outside of the polygons, e.g. of building footprints."""
    extent: FilePath | None = None
    """Polygons outside of which nothing counts as `outside`: the area that was mapped; FILE|layername=NAME where the
    file has several layers."""
    corrections: FilePath | None = None
    """Polygons that correct the labels under them, in any CRS: the class in their column `correction` counts, and where
    that is empty, or missing, nothing does; FILE|layername=NAME where the file has several layers."""

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if self.extent is not None and self.outside is None:
            raise ValueError("extent says where outside counts: give outside, the class between the polygons, as well")
        return self
