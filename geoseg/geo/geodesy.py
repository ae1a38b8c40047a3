"""Geodesy: sizes of pixels and polygons on the earth, in metres and square metres.

In: a coordinate system, an affine transform, a raster's size, polygons in the coordinates of that system. Out: metres
and square metres, or None where these are undefined: no coordinate system, a local one, or one that cannot be inverted
where the scene lies. Nothing here raises for an odd coordinate system.

All areas and lengths are those on the ellipsoid:

- of a projection, the map's areas and lengths are corrected by its distortion, a polynomial over the scene
  (`distortion`), to 1e-8;
- where there is no such polynomial (longitude and latitude; the world in Mercator; a hemisphere), vertices are
  projected to a plane with true areas (`planes`), and lengths are those of geodesics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Geod

from geoseg.geo.distortion import ArealDistortion, fit_areas, fit_lengths
from geoseg.geo.geodetic_system import Coordinates, GeodeticSystem, geodetic_system
from geoseg.geo.georef import Box
from geoseg.geo.planes import equal_area_plane, is_cylindrical, radians_per_x

__all__ = [
    "EVEN",
    "BlockAreas",
    "Coordinates",
    "GeodeticMeasure",
    "GeodeticSystem",
    "block_areas",
    "geodetic_measure",
    "geodetic_system",
    "pixel_size_in",
    "pixel_size_m",
    "row_areas_m2",
    "x_period",
]

Offsets = NDArray[np.int64]
"""Where each of M consecutive pieces begins, and where the last one ends (M + 1,)."""

DISTORTION = 0.02
"""Relative error of the area up to which the sides of pixels are given in the projection's own unit."""

BLOCK_M = 20_000
"""Side of a block of pixels between whose corners areas are interpolated: on a sphere like the earth exact to 2e-6."""
BLOCK_PX = 2, 1024
"""Smallest and largest side of such a block in pixels."""
EVEN = 5e-6
"""Relative deviation of areas along a row up to which one area for all its pixels will do."""


def pixel_size_m(crs: Any, transform: Affine, height: int, width: int) -> tuple[float, float] | None:
    """Length in metres of the sides of the pixel at the scene's centre: along its row (x) and along its column (y).

    In the unit of an ordinary projection; along the ellipsoid where the system is geographic or distorts areas.
    """
    system = geodetic_system(crs)
    return None if system is None else pixel_size_in(system, transform, height, width)


def pixel_size_in(system: GeodeticSystem, transform: Affine, height: int, width: int) -> tuple[float, float] | None:
    """As `pixel_size_m`, given the system's geodetic parameters."""
    ends = side_ends(transform, height, width)
    lengths = planar_lengths if system.areal_error(ends.mean(axis=0)) <= DISTORTION else geodesic_lengths
    x_m, y_m = lengths(system, ends)
    return (x_m, y_m) if 0 < x_m < math.inf and 0 < y_m < math.inf else None


def row_areas_m2(crs: Any, transform: Affine, height: int, width: int) -> NDArray[np.float64] | None:
    """Mean area of the pixels in each row (H,); 0 where a row lies off the earth.

    Pixels of a row differ from it by no more than the projection's distortion varies along the row. Where no polynomial
    describes the projection, the area is that of the pixel in the middle column.
    """
    system = geodetic_system(crs)
    if system is None:
        return None
    corners = scene_corners(transform, height, width)
    distortion = fit_areas(system, corners)
    if distortion is not None:
        return distortion.row_means(np.linspace(-1, 1, height + 1)) * abs(transform.determinant)
    plane = equal_area_plane(system, corners)
    if plane is None:
        return None
    west, east = (plane(lattice_column(transform, width // 2 + side, height)) for side in (0, 1))
    areas = quadrangle_areas(np.stack([west[:-1], west[1:], east[1:], east[:-1]], axis=1))
    areas[~np.isfinite(areas)] = 0
    return areas if areas.any() else None


@dataclass(frozen=True)
class BlockAreas:
    """Areas of the pixels of a raster whose rows are not of one size, interpolated within blocks."""

    side: int
    """Rows and columns of a block; blocks at the right and at the bottom may be smaller."""
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    """Where blocks begin, and where the last ones end, in pixels (⌈H / side⌉ + 1,), (⌈W / side⌉ + 1,)."""
    nodes_m2: NDArray[np.float64]
    """Area of a pixel at the corners of blocks (⌈H / side⌉ + 1, ⌈W / side⌉ + 1); 0 off the earth."""

    def along_columns(self, row: int, height: int) -> NDArray[np.float64]:
        """Areas (height, ⌈W / side⌉ + 1) of pixels in some rows of one row of blocks, at the ends of its blocks.

        Between the ends of a block, areas change evenly from pixel to pixel.
        """
        i = row // self.side
        down = (row - self.rows[i] + np.arange(height) + 0.5) / (self.rows[i + 1] - self.rows[i])
        return np.asarray(np.stack([1 - down, down], axis=1) @ self.nodes_m2[i : i + 2])


def block_areas(crs: Any, transform: Affine, height: int, width: int) -> BlockAreas | None:
    """Areas of pixels within blocks, exact to 2e-6; None where those by row will do, or there are none."""
    system = geodetic_system(crs)
    if system is None or system.to_geographic is None:
        return None
    pixel_m = math.sqrt(abs(transform.determinant)) * system.unit
    low, high = BLOCK_PX
    side = int(min(max(BLOCK_M / pixel_m, low), high)) if pixel_m > 0 else high
    rows, columns = (np.append(np.arange(0, size, side), size) for size in (height, width))
    column, row = (axis.ravel().astype(np.float64) for axis in np.meshgrid(columns, rows))
    areas = system.densities(to_crs(transform, column, row)) * abs(transform.determinant)
    areas = np.nan_to_num(areas, nan=0.0).reshape(len(rows), len(columns))
    if not areas.any() or (np.ptp(areas, axis=1) <= 2 * EVEN * areas.max(axis=1)).all():
        return None
    return BlockAreas(side, rows, columns, areas)


@dataclass(frozen=True)
class GeodeticMeasure:
    """Measures areas and perimeters of polygons on the ellipsoid, all of one layer in the same way."""

    areas_along: Callable[[Coordinates, Offsets], NDArray[np.float64]]
    """Part of each step from a vertex (V, 2) to the next (V - 1,) in the area of its ring, given where rings begin."""
    lengths_along: Callable[[Coordinates], NDArray[np.float64]]
    """Metres from each vertex (V, 2) to the next (V - 1,)."""

    def areas(self, xy: Coordinates, rings: Offsets, polygons: Offsets) -> NDArray[np.float64]:
        """Area of each polygon (N,) in square metres; NaN for one that reaches off the earth.

        Args:
            xy: vertices (V, 2) of all rings one after another, holes running against their exteriors.
            rings: where each ring begins in `xy` (R + 1,); each ends on its first vertex.
            polygons: where each polygon begins among the rings (N + 1,).
        """
        with np.errstate(invalid="ignore"):  # vertices off the earth, as in the space around a full disk
            areas = np.abs(_totals(_sums(self.areas_along(xy, rings), rings), polygons))
        return np.where(np.isfinite(areas), areas, np.nan)

    def perimeters(self, xy: Coordinates, rings: Offsets, polygons: Offsets) -> NDArray[np.float64]:
        """Length of all rings of each polygon (N,) in metres; NaN for one off the earth; arguments as of `areas`."""
        with np.errstate(invalid="ignore"):
            perimeters = _totals(_sums(self.lengths_along(xy), rings), polygons)
        return np.where(np.isfinite(perimeters), perimeters, np.nan)


def geodetic_measure(crs: Any, corners: Coordinates) -> GeodeticMeasure | None:
    """How polygons between four corners (4, 2) are measured; None where the coordinate system gives no metres."""
    system = geodetic_system(crs)
    areas_along = None if system is None else _areas_along(system, corners)
    if system is None or areas_along is None:
        return None
    linear = fit_lengths(system, corners)
    return GeodeticMeasure(areas_along, partial(_geodesics, system) if linear is None else linear.lengths)


def _areas_along(
    system: GeodeticSystem, corners: Coordinates
) -> Callable[[Coordinates, Offsets], NDArray[np.float64]] | None:
    distortion = fit_areas(system, corners)
    if distortion is not None:
        return partial(_with_distortion, distortion)
    plane = equal_area_plane(system, corners)
    return None if plane is None else lambda xy, rings: _planar(plane(xy), rings)


def _with_distortion(distortion: ArealDistortion, xy: Coordinates, rings: Offsets) -> NDArray[np.float64]:
    parts = _planar(xy, rings)
    parts *= distortion.density[0, 0]
    distortion.add_excess(xy, parts)
    return parts


def _geodesics(system: GeodeticSystem, xy: Coordinates) -> NDArray[np.float64]:
    """Length in metres from each vertex (V, 2) to the next (V - 1,)."""
    longitude, latitude = np.degrees(system.angles(xy)).T
    geod = Geod(a=system.a, b=system.b)
    return np.asarray(geod.inv(longitude[:-1], latitude[:-1], longitude[1:], latitude[1:])[2])


def _planar(xy: Coordinates, rings: Offsets) -> NDArray[np.float64]:
    """Part of each step from a vertex (V, 2) to the next (V - 1,) in the planar area of its ring."""
    from geoseg.geo.edges import planar_parts

    parts = np.empty(max(0, len(xy) - 1))
    planar_parts(np.ascontiguousarray(xy), rings, parts)
    return parts


def _sums(of_edges: NDArray[np.float64], rings: Offsets) -> NDArray[np.float64]:
    """Sum of a value over the edges of each ring (R,), given for all steps from one vertex to the next (V - 1,), of
    which those from ring to ring become 0."""
    of_edges[rings[1:-1] - 1] = 0  # from the last vertex of a ring to the first of the next
    return np.add.reduceat(of_edges, rings[:-1]) if len(rings) > 1 else np.zeros(0)


def _totals(of_rings: NDArray[np.float64], polygons: Offsets) -> NDArray[np.float64]:
    return np.add.reduceat(of_rings, polygons[:-1]) if len(polygons) > 1 else np.zeros(0)


def x_period(crs: Any, box: Box) -> float | None:
    """Period of x in CRS units: 360 where x is a longitude in degrees.

    None where x is not periodic, as meridians do not run along y all over the box.
    """
    system = geodetic_system(crs)
    if system is None:
        return None
    if system.to_geographic is None:
        return math.tau / system.radians
    left, bottom, right, top = box
    corners = np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
    centre = corners.mean(axis=0)
    corners += 1e-3 * (centre - corners)  # at 180 degrees the sign of a longitude is a matter of rounding
    if not is_cylindrical(system.angles(corners)):
        return None
    radians = abs(radians_per_x(system, centre))
    return math.tau / radians if radians > 0 and math.isfinite(radians) else None


def planar_lengths(system: GeodeticSystem, ends: Coordinates) -> tuple[float, float]:
    """Lengths in metres of the lines from ends[0] to ends[1] and from ends[2] to ends[3], on the map."""
    x, y = np.hypot(*(ends[1::2] - ends[::2]).T) * system.unit
    return float(x), float(y)


def geodesic_lengths(system: GeodeticSystem, ends: Coordinates) -> tuple[float, float]:
    """Lengths in metres of the lines from ends[0] to ends[1] and from ends[2] to ends[3], on the ellipsoid."""
    (from_x, from_y), (to_x, to_y) = system.angles(ends[::2]).T, system.angles(ends[1::2]).T
    _, _, (x, y) = Geod(a=system.a, b=system.b).inv(from_x, from_y, to_x, to_y, radians=True)
    return float(x), float(y)


def quadrangle_areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of M quadrangles (M, 4, 2): half the cross product of their diagonals (M,)."""
    with np.errstate(invalid="ignore"):  # a corner off the map is infinite, and so the area is not a number
        one, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        return np.asarray(np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2)


def side_ends(transform: Affine, height: int, width: int) -> Coordinates:
    """Middles (4, 2) of the west, east, north and south side of a pixel at the scene's centre."""
    return to_crs(transform, width / 2 + np.array([-0.5, 0.5, 0, 0]), height / 2 + np.array([0, 0, -0.5, 0.5]))


def scene_corners(transform: Affine, height: int, width: int) -> Coordinates:
    """The corners (4, 2) of a raster."""
    return to_crs(transform, width * np.array([0.0, 0, 1, 1]), height * np.array([0.0, 1, 1, 0]))


def lattice_column(transform: Affine, column: int, height: int) -> Coordinates:
    """The nodes (H + 1, 2) of one lattice column."""
    return to_crs(transform, np.full(height + 1, float(column)), np.arange(height + 1.0))


def to_crs(transform: Affine, column: NDArray[np.float64], row: NDArray[np.float64]) -> Coordinates:
    """CRS coordinates (V, 2) of lattice points. Spelled out: affine 3 does it with `@`, affine 2 only with `*`."""
    a, b, c, d, e, f = transform[:6]
    return np.stack([a * column + b * row + c, d * column + e * row + f], axis=1)
