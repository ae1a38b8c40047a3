"""Settings of the legend of a class raster."""

from __future__ import annotations

from geoseg.spec.base import FilePath, Spec


class LegendSpec(Spec):
    """Where names and colours of a class raster's values stand."""

    legend: FilePath | None = None
    """File with names and colours of the classes (.qml, .sld, .clr, .vat.dbf, ..., or a class raster that has them),
    before those in the raster and beside it."""
