"""Longitudes that go on: places a whole turn apart are the same ground, whatever number the turn is counted from.

In: polygons in longitude and latitude, or on a plane whose x goes round the globe. Out: the same ground where another
raster has it, or cut at 180° (RFC 7946, section 3.1.9). Knows no files.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.geo.georef import Box

Shapes = NDArray[np.object_]

MOST_TURNS = 8
"""Turns to look for the same ground at most: nobody counts longitudes from farther off."""
SNAP = 1e-9
"""Degrees from 180° within which a vertex lies on it: a tenth of a millimetre, and more than rounding makes."""


def turns_to(box: Box, extent: Box | None, turn: float | None) -> range:
    """How many turns a box has to be moved to meet an extent, or any that there may be."""
    if turn is None:
        return range(1)
    if extent is None:
        return range(-MOST_TURNS, MOST_TURNS + 1)
    first, last = math.ceil((extent.left - box.right) / turn), math.floor((extent.right - box.left) / turn)
    return range(max(first, -MOST_TURNS), min(last, MOST_TURNS) + 1) or range(1)


def turned(shapes: Shapes, box: Box, turn: float | None) -> tuple[Shapes, NDArray[np.intp]]:
    """Shapes (N,) wherever whole turns bring them to a box along x, and which of them each is; in their order."""
    if turn is None or not len(shapes):
        return shapes, np.arange(len(shapes))
    left, _, right, _ = shapely.bounds(shapes).T
    first, last = np.ceil((box.left - right) / turn), np.floor((box.right - left) / turn)
    copies, owners = [], []
    for k in range(-MOST_TURNS, MOST_TURNS + 1):
        here = np.flatnonzero((first <= k) & (k <= last))
        copies.append(_moved(shapes[here], k * turn) if k else shapes[here])
        owners.append(here)
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(copies)[order], owner[order]


def _moved(shapes: Shapes, x: float) -> Shapes:
    return np.asarray(shapely.transform(shapes, lambda xy: xy + np.array([x, 0])), object)


def within_180(shapes: Shapes) -> Shapes:
    """Polygons (N,) in degrees of any turn, with longitudes from -180 to 180: those that cross 180° are cut there."""
    snapped = np.asarray(shapely.transform(shapes, _snapped), object)
    west, _, east, _ = shapely.bounds(snapped).T
    first, last = np.floor((west + 180) / 360), np.ceil((east + 180) / 360) - 1
    found = snapped.copy()
    for k in np.unique(first[np.isfinite(first)]):
        whole = (first == k) & (last == k)
        found[whole] = _moved(snapped[whole], -360 * k) if k else snapped[whole]
    for index in np.flatnonzero(last > first):
        found[index] = _cut(snapped[index], int(first[index]), int(last[index]))
    return found


def _snapped(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices (V, 2) of which those next to 180° lie on it: slivers beyond would be pieces of their own."""
    nearest = 360 * np.round((xy[:, 0] - 180) / 360) + 180
    is_near = np.abs(xy[:, 0] - nearest) < SNAP
    return np.column_stack([np.where(is_near, nearest, xy[:, 0]), xy[:, 1]])


def _cut(shape: Any, first: int, last: int) -> Any:
    """One polygon in the turns `first` to `last`, cut where each ends and laid one over the other."""
    west, south, east, north = shapely.bounds(shape)
    pieces: list[Any] = []
    for k in range(first, last + 1):
        piece = shapely.intersection(shape, shapely.box(360 * k - 180, south, 360 * k + 180, north))
        parts = [part for part in shapely.get_parts(piece) if part.geom_type == "Polygon"]
        pieces += _moved(np.array(parts, object), -360 * k).tolist()
    if east - west < 360 - SNAP:
        return shapely.multipolygons(pieces)
    return shapely.union_all(pieces, grid_size=SNAP / 10)  # the last meets the first, but for rounding


def unrolled(shapes: Shapes) -> Shapes:
    """Polygons (N,) whose rings jump from 180° to -180°, as they lie on the ground, with longitudes up to 180°.

    A ring round a pole goes on along a meridian to that pole and back. Seen from above the ground, exteriors turn
    counter-clockwise and holes clockwise: so it is known which pole they enclose.
    """
    xy, owners = shapely.get_coordinates(shapes, return_index=True)
    jumps = (np.abs(np.diff(xy[:, 0])) > 180 - SNAP) & (np.diff(owners) == 0)
    found = shapes.copy()
    for index in np.unique(np.concatenate([owners[1:][jumps], owners[_at_pole(xy)]])):
        found[index] = shapely.union_all([_unrolled(part) for part in shapely.get_parts(shapes[index])])
    return found


def _at_pole(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which vertices (V,) are a pole, whose longitude means nothing."""
    at_pole: NDArray[np.bool_] = np.abs(xy[:, 1]) > 90 - SNAP
    return at_pole


def _unrolled(polygon: Any) -> Any:
    whole = _enclosed(polygon.exterior, 1)
    return shapely.difference(whole, shapely.union_all([_enclosed(ring, -1) for ring in polygon.interiors]))


def _enclosed(ring: Any, turn: int) -> Any:
    """The ground within a ring that turns counter-clockwise (1) or clockwise (-1)."""
    xy = shapely.get_coordinates(ring)
    jumps = np.diff(xy[:, 0])
    through = np.abs(np.abs(jumps) - 180) < SNAP  # along a meridian, over the pole, and along the opposite one
    poles = _at_pole(xy)[:-1]
    if poles.any() or through.any():
        pole = math.copysign(90, xy[:-1][poles | through, 1].mean())
        areas = [_closed(path, pole) for path in _paths_from_pole(xy[:-1], poles, through & ~poles)]
    else:
        winding = np.unwrap(xy[:, 0], period=360)[-1] - xy[0, 0]
        areas = [_closed(xy, math.copysign(90, turn * winding) if abs(winding) > 180 else None)]
    return shapely.union_all(within_180(np.array(areas, object)))


def _paths_from_pole(
    xy: NDArray[np.float64], poles: NDArray[np.bool_], through: NDArray[np.bool_]
) -> list[NDArray[np.float64]]:
    """Pieces of a ring (V, 2), whose first vertex is not repeated, between its visits to a pole: at vertices, or on
    the way from some to the next."""
    starts = np.flatnonzero(poles | through)
    order = np.roll(np.arange(len(xy)), -int(starts[0]) - 1)
    ends = np.flatnonzero((poles | through)[order]) + 1
    pieces = np.split(xy[order], ends[:-1])
    return [path for piece in pieces if len(path := piece[~_at_pole(piece)]) > 1]


def _closed(path: NDArray[np.float64], pole: float | None) -> Any:
    """Area of a path (V, 2) whose longitudes go on, closed over a pole if it leads there."""
    longitude = np.unwrap(path[:, 0], period=360)
    points = np.column_stack([longitude, path[:, 1]])
    if pole is not None:
        points = np.concatenate([points, [(longitude[-1], pole), (longitude[0], pole)]])
    return shapely.make_valid(shapely.polygons(points))
