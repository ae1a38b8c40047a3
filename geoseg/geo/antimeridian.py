"""Wrapping, unwrapping and splitting of polygons at the antimeridian.

In: polygons in longitude and latitude, or in a projection whose x is periodic. Out: the same polygons shifted by whole
periods onto the coordinates of a raster, or split at 180° (RFC 7946, section 3.1.9). Knows no files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.geo.georef import Box

Shapes = NDArray[np.object_]
"""Geometries of shapely (N,)."""

MOST_PERIODS = 8
"""Most periods by which polygons are shifted: no file has longitudes beyond ±8 · 360°."""
SNAP = 1e-9
"""A vertex no more degrees from 180° lies on it: a tenth of a millimetre, and more than rounding errors."""


def shifts_onto(box: Box, extent: Box | None, period: float | None) -> range:
    """The numbers of periods of x by which a box is shifted to meet an extent; all that are tried if it is unknown."""
    if period is None:
        return range(1)
    if extent is None:
        return range(-MOST_PERIODS, MOST_PERIODS + 1)
    first, last = math.ceil((extent.left - box.right) / period), math.floor((extent.right - box.left) / period)
    return range(max(first, -MOST_PERIODS), min(last, MOST_PERIODS) + 1) or range(1)


def wrapped_onto(shapes: Shapes, box: Box, period: float | None) -> tuple[Shapes, NDArray[np.intp]]:
    """Copies (M,) of shapes (N,), shifted along x by each number of periods at which they meet a box, in their order;
    and the index of the shape that each is a copy of (M,). Without a period the shapes themselves."""
    if period is None or not len(shapes):
        return shapes, np.arange(len(shapes))
    left, _, right, _ = shapely.bounds(shapes).T
    first, last = np.ceil((box.left - right) / period), np.floor((box.right - left) / period)
    copies, owners = [], []
    for k in range(-MOST_PERIODS, MOST_PERIODS + 1):
        here = np.flatnonzero((first <= k) & (k <= last))
        copies.append(_shifted(shapes[here], k * period) if k else shapes[here])
        owners.append(here)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(copies)[order], owner[order]


def _shifted(shapes: Shapes, x: float) -> Shapes:
    return np.asarray(shapely.transform(shapes, lambda xy: xy + np.array([x, 0])), object)


def split_at_180(shapes: Shapes) -> Shapes:
    """Polygons (N,) in degrees, wrapped to longitudes from -180 to 180; those that cross 180° are split there."""
    snapped = np.asarray(shapely.transform(shapes, _snapped), object)
    west, _, east, _ = shapely.bounds(snapped).T
    first, last = np.floor((west + 180) / 360), np.ceil((east + 180) / 360) - 1
    found = snapped.copy()
    for k in np.unique(first[np.isfinite(first)]):
        whole = (first == k) & (last == k)
        found[whole] = _shifted(snapped[whole], -360 * k) if k else snapped[whole]
    for index in np.flatnonzero(last > first):
        found[index] = _split(snapped[index], int(first[index]), int(last[index]))
    return found


def _snapped(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices (V, 2), those next to 180° moved onto it: a sliver beyond would become a piece of its own."""
    nearest = 360 * np.round((xy[:, 0] - 180) / 360) + 180
    is_near = np.abs(xy[:, 0] - nearest) < SNAP
    return np.column_stack([np.where(is_near, nearest, xy[:, 0]), xy[:, 1]])


def _split(shape: Any, first: int, last: int) -> Any:
    """One polygon that reaches from period `first` to `last`: split where each ends, and all pieces wrapped."""
    west, south, east, north = shapely.bounds(shape)
    pieces: list[Any] = []
    for k in range(first, last + 1):
        piece = shapely.intersection(shape, shapely.box(360 * k - 180, south, 360 * k + 180, north))
        parts = [part for part in shapely.get_parts(piece) if part.geom_type == "Polygon"]
        pieces += _shifted(np.array(parts, object), -360 * k).tolist()
    if east - west < 360 - SNAP:
        return shapely.multipolygons(pieces)
    return shapely.union_all(pieces, grid_size=SNAP / 10)  # the last meets the first, but for rounding


def unwrap_rings(shapes: Shapes) -> Shapes:
    """Polygons (N,) without the jumps of their rings from 180° to -180°: unwrapped, then split at 180°.

    A ring around a pole is closed along a meridian to that pole and back. Exteriors are counter-clockwise on the globe
    and holes clockwise, which says which of the poles they enclose.
    """
    xy, owners = shapely.get_coordinates(shapes, return_index=True)
    jumps = (np.abs(np.diff(xy[:, 0])) > 180 - SNAP) & (np.diff(owners) == 0)
    found = shapes.copy()
    for index in np.unique(np.concatenate([owners[1:][jumps], owners[_at_pole(xy)]])):
        found[index] = shapely.union_all([_unwrapped(part) for part in shapely.get_parts(shapes[index])])
    return found


def _at_pole(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which vertices (V,) are a pole, where longitude is undefined."""
    at_pole: NDArray[np.bool_] = np.abs(xy[:, 1]) > 90 - SNAP
    return at_pole


def _unwrapped(polygon: Any) -> Any:
    whole = _enclosed(polygon.exterior, 1)
    return shapely.difference(whole, shapely.union_all([_enclosed(ring, -1) for ring in polygon.interiors]))


def _enclosed(ring: Any, orientation: int) -> Any:
    """The area within a ring on the globe that is counter-clockwise (1) or clockwise (-1)."""
    xy = shapely.get_coordinates(ring)
    jumps = np.diff(xy[:, 0])
    through = np.abs(np.abs(jumps) - 180) < SNAP  # along a meridian, over the pole, and along the opposite one
    poles = _at_pole(xy)[:-1]
    if poles.any() or through.any():
        pole = math.copysign(90, xy[:-1][poles | through, 1].mean())
        areas = [_closed(path, pole) for path in _paths_from_pole(xy[:-1], poles, through & ~poles)]
    else:
        winding = np.unwrap(xy[:, 0], period=360)[-1] - xy[0, 0]
        areas = [_closed(xy, math.copysign(90, orientation * winding) if abs(winding) > 180 else None)]
    return shapely.union_all(split_at_180(np.array(areas, object)))


def _paths_from_pole(
    xy: NDArray[np.float64], poles: NDArray[np.bool_], through: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    """Parts of a ring (V, 2), whose first vertex is not repeated, between the places where it passes a pole: vertices
    (`poles`), or edges that follow a vertex (`through`)."""
    starts = np.flatnonzero(poles | through)
    order = np.roll(np.arange(len(xy)), -int(starts[0]) - 1)
    ends = np.flatnonzero((poles | through)[order]) + 1
    pieces = np.split(xy[order], ends[:-1])
    return [path for piece in pieces if len(path := piece[~_at_pole(piece)]) > 1]


def _closed(path: NDArray[np.float64], pole: float | None) -> Any:
    """Area of a path (V, 2) with unwrapped longitudes, closed over a pole if one is given."""
    longitude = np.unwrap(path[:, 0], period=360)
    points = np.column_stack([longitude, path[:, 1]])
    if pole is not None:
        points = np.concatenate([points, [(longitude[-1], pole), (longitude[0], pole)]])
    return shapely.make_valid(shapely.polygons(points))
