"""Where a scene lies, in fields of the projection extension and of GeoJSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from geoseg.geo.antimeridian import split_at_180
from geoseg.geo.crs import crs_code
from geoseg.geo.georef import PixelGrid

_EDGE_POINTS = 32
"""Points along each side of a scene's outline, for straight sides bend on the way to longitude and latitude."""
_OUTLINE_TOLERANCE = 1e-4
"""Largest deviation of the outline, as a share of its length."""
_DIGITS = 9
"""Decimals of a degree: a tenth of a millimetre."""


def place_of(grid: PixelGrid) -> dict[str, Any]:
    """Geometry and bbox of an Item; null and absent where coordinates cannot be converted to longitude and latitude."""
    footprint = _footprint(grid)
    if footprint is None:
        return {"geometry": None}
    return {"geometry": _rounded(mapping(_within_180(footprint))), "bbox": _rounded(_bbox(footprint))}


def projection(grid: PixelGrid) -> dict[str, Any]:
    """Fields of the projection extension: a code where there is one, else WKT; the bounding box in that CRS."""
    fields: dict[str, Any] = {"proj:shape": [grid.height, grid.width]}
    if grid.is_georeferenced:
        fields["proj:transform"] = list(grid.transform)[:6]
        fields["proj:bbox"] = _bounds(grid)
    crs = _known_crs(grid)
    code = None if crs is None else crs_code(grid.crs)
    fields["proj:code"] = code
    if crs is not None and code is None:
        fields["proj:wkt2"] = crs.to_wkt()
    return fields


def _bounds(grid: PixelGrid) -> list[float]:
    """Left, bottom, right and top of the grid in its CRS; of a rotated one, those of all its corners."""
    corners = [grid.transform @ (column, row) for column in (0, grid.width) for row in (0, grid.height)]
    x, y = zip(*corners, strict=True)
    return [min(x), min(y), max(x), max(y)]


def _known_crs(grid: PixelGrid) -> CRS | None:
    try:
        return CRS.from_user_input(grid.crs) if grid.crs and grid.is_georeferenced else None
    except ProjError:
        return None


def _footprint(grid: PixelGrid) -> BaseGeometry | None:
    """Outline of the scene in longitude and latitude, continued beyond 180° in one piece; None if it is unknown."""
    crs = _known_crs(grid)
    if crs is None:
        return None
    try:
        lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*_outline(grid))
    except ProjError:
        return None
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    outline = shapely.make_valid(Polygon(_closed_over_pole(np.unwrap(lon, period=360), lat)))
    west, south, east, north = outline.bounds
    return outline.simplify(_OUTLINE_TOLERANCE * max(east - west, north - south))


def _outline(grid: PixelGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CRS coordinates (V,), (V,) of points along the scene's edge; the last is the first again."""
    along = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    low, high = np.zeros(_EDGE_POINTS), np.ones(_EDGE_POINTS)
    columns = np.concatenate([low, along, high, 1 - along, [0]]) * grid.width
    rows = np.concatenate([along, high, 1 - along, low, [0]]) * grid.height
    t = grid.transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def _closed_over_pole(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ring (V, 2) of an unwrapped outline; one that runs round the earth is closed over the pole it encloses."""
    ring = np.column_stack([lon, lat])
    if abs(lon[-1] - lon[0]) < 180:
        return ring
    pole = np.copysign(90.0, lat.mean())
    return np.concatenate([ring, [(lon[-1], pole), (lon[0], pole)]])


def _within_180(footprint: BaseGeometry) -> Polygon | MultiPolygon:
    """Wrap longitudes to -180 to 180, cutting at the antimeridian (RFC 7946, section 3.1.9)."""
    cut = split_at_180(np.array([footprint], object))[0]
    parts = [orient(part) for part in shapely.get_parts(cut) if isinstance(part, Polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _bbox(footprint: BaseGeometry) -> list[float]:
    """West, south, east, north; west is greater than east where the scene crosses 180° (RFC 7946, section 5.2)."""
    west, south, east, north = footprint.bounds
    if east - west >= 360:
        return [-180.0, south, 180.0, north]
    return [(west + 180) % 360 - 180, south, 180 - (180 - east) % 360, north]


def _rounded(value: Any) -> Any:
    """GeoJSON with lists for tuples, rounded to significant decimals."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return round(value, _DIGITS) if isinstance(value, float) else value
