"""Traced regions in, a table of polygons out: the columns that every vector file of geoseg has.

What goes in: regions on the pixel lattice (`trace.py`), the raster's transform and coordinate system, class names.
What comes out: a GeoDataFrame, one row per region in the order of its first pixel, row by row. Knows no files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import geopandas
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError

from geoseg.ground import area_m2
from geoseg.trace import Regions

__all__ = ["to_frame"]


def to_frame(regions: Regions, transform: Affine, crs: Any, class_names: Mapping[int, str]) -> geopandas.GeoDataFrame:
    """The polygons of a class raster with their attributes.

    - `class_id` int, `class` str: a class without a name goes by its number
    - `area_m2` float: on the ground; NaN where the coordinate system doesn't tell
    - `confidence` float 0..1: mean over the region's pixels; absent if the regions have none
    - geometry in coordinates of `crs` through `transform`, exteriors counter-clockwise

    Args:
        crs: Whatever names a coordinate system, or None.
    """
    geometry = regions.polygons(transform)
    areas = area_m2(geometry, crs)
    columns: dict[str, NDArray[Any]] = {
        "class_id": regions.class_id.astype(np.int32),
        "class": names_by_id(class_names)[regions.class_id],
        "area_m2": np.full(len(regions), np.nan) if areas is None else areas,
    }
    if regions.confidence is not None:
        columns["confidence"] = regions.confidence / 100  # rasters hold percent
    return geopandas.GeoDataFrame(columns, geometry=geometry, crs=known_crs(crs))


def names_by_id(class_names: Mapping[int, str]) -> NDArray[np.object_]:
    """Name of each class id (256,)."""
    return np.array([class_names.get(class_id, str(class_id)) for class_id in range(256)], object)


def known_crs(crs: Any) -> CRS | None:
    """The coordinate system as pyproj has it; None if there is none or it makes no sense to pyproj."""
    try:
        return CRS.from_user_input(crs) if crs else None
    except (ProjError, ValueError):
        return None
