"""Rasters of which it cannot be found out whether they overlap others, as they have no place on a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from geoseg.geo.georef import PixelGrid


def count_unplaced(rasters: Sequence[PixelGrid], others: Sequence[PixelGrid]) -> int:
    """Number of rasters that have no place on a map, and that cannot be compared with some of the others.

    Rasters without a coordinate system can be compared with each other, rasters without a transform with none.
    """
    counts, kinds = Counter(map(_kind, rasters)), {_kind(one): one for one in others}.values()
    examples = {_kind(one): one for one in rasters}
    return sum(
        counts[kind]
        for kind, one in examples.items()
        if not one.is_on_map and not all(one.can_be_compared_with(other) for other in kinds)
    )


def _kind(grid: PixelGrid) -> tuple[bool, str | None]:
    """What decides with which rasters a raster can be compared."""
    return grid.is_georeferenced, grid.crs.to_wkt() if grid.crs else None
