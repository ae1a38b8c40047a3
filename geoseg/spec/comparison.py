"""Settings of the comparison of a class raster with labels."""

from __future__ import annotations

from geoseg.spec.legend import LegendSpec


class ComparisonSpec(LegendSpec):
    """How a class raster and labels of the same area are read."""

    column: str | None = None
    """Column of the polygons with the class; needed if there are several."""
    layer: str | None = None
    """Layer of the vector file; needed if there are several."""
