"""Shapes reduced to the polygons among them. In: geometries of any type. Out: polygons and multipolygons."""

from __future__ import annotations

import numpy as np
import shapely
from shapely import GeometryType

from geoseg.geo.antimeridian import Shapes


def polygonal(shapes: Shapes) -> Shapes:
    """Shapes (N,) reduced to polygons: of a collection those that it holds; empty where there is none."""
    kinds = shapely.get_type_id(shapes)
    if np.isin(kinds, (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)).all():
        return shapes
    parts, owners = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(parts) > GeometryType.POLYGON).any():  # collections of collections
        parts, inner = shapely.get_parts(parts, return_index=True)
        owners = owners[inner]
    areas = shapely.get_type_id(parts) == GeometryType.POLYGON
    collected = np.full(len(shapes), shapely.MultiPolygon(), object)
    shapely.multipolygons(parts[areas], indices=owners[areas], out=collected)
    return np.where(kinds == GeometryType.POLYGON, shapes, collected)
