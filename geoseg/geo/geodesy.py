"""Geodesy: sizes of pixels and polygons on the earth, in metres and square metres.

In: a coordinate system, an affine transform, a raster's size, polygons in the coordinates of that system. Out: metres
and square metres, or None where these are undefined: no coordinate system, a local one, or one that cannot be inverted
where the scene lies. Nothing here raises for an odd coordinate system.

All areas are measured in the same way: coordinates are projected to a plane with true areas (`equal_area_plane`).

- An ordinary projection (UTM, state plane, national grids) *is* such a plane, in its own unit.
- Where longitude and latitude run along the axes (geographic; Mercator in all its kinds) the plane is a cylindrical
  equal-area projection of the same ellipsoid: the straight edges of pixels stay straight there, so areas are exact.
- Any other projection that distorts areas by more than 2 % (polar stereographic off its true latitude,
  geostationary) is replaced by Lambert's azimuthal equal-area projection about the scene's centre.

Distortion is measured at the scene's centre and corners: a world map in Mercator has none in its middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from geoseg.geo.crs import horizontal
from geoseg.geo.georef import Box

__all__ = ["GeodeticMeasure", "geodetic_measure", "pixel_size_m", "row_areas_m2", "x_period"]

Coordinates = NDArray[np.float64]
"""x and y of V points (V, 2)."""

Offsets = NDArray[np.int64]
"""Where each of M consecutive pieces begins, and where the last one ends (M + 1,)."""

Plane = Callable[[Coordinates], Coordinates]
"""CRS coordinates (V, 2) → metres (V, 2) on a plane with true areas."""

DISTORTION = 0.02
"""Relative error of the area up to which a projection's own plane is used: UTM and national grids stay below 0.3 %."""

SAMPLE_M = 1000.0
"""Side of the square with which distortion is measured: rounding matters far below it, the curvature far above it."""

SQUARE = np.array([(-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5), (0.5, 0.5)])
"""Corners (4, 2) of a square about the origin, counter-clockwise from the upper left, as of all quadrangles here."""


def pixel_size_m(crs: Any, transform: Affine, height: int, width: int) -> tuple[float, float] | None:
    """Length in metres of the sides of the pixel at the scene's centre: along its row (x) and along its column (y).

    In the unit of an ordinary projection; along the ellipsoid where the system is geographic or distorts areas.
    """
    system = geodetic_system(crs)
    if system is None:
        return None
    ends = side_ends(transform, height, width)
    lengths = planar_lengths if system.areal_error(ends.mean(axis=0)) <= DISTORTION else geodesic_lengths
    x_m, y_m = lengths(system, ends)
    return (x_m, y_m) if 0 < x_m < math.inf and 0 < y_m < math.inf else None


def row_areas_m2(crs: Any, transform: Affine, height: int, width: int) -> NDArray[np.float64] | None:
    """Area of one pixel in each row (H,), taken at the middle column; 0 where a row lies off the earth.

    Exact where rows run along parallels. Elsewhere areas vary along a row by no more than the projection's distortion.
    """
    plane = equal_area_plane(geodetic_system(crs), scene_corners(transform, height, width))
    if plane is None:
        return None
    west, east = (plane(lattice_column(transform, width // 2 + side, height)) for side in (0, 1))
    areas = quadrangle_areas(np.stack([west[:-1], west[1:], east[1:], east[:-1]], axis=1))
    areas[~np.isfinite(areas)] = 0
    return areas if areas.any() else None


@dataclass(frozen=True)
class GeodeticMeasure:
    """Measures areas and perimeters of polygons on the earth, all of one layer in the same way."""

    system: GeodeticSystem
    """Coordinate system of the polygons."""
    plane: Plane
    """Plane on which areas are measured."""
    is_planar: bool
    """Whether lengths are the projection's own, or those of geodesics on the ellipsoid."""

    def areas(self, xy: Coordinates, rings: Offsets, polygons: Offsets) -> NDArray[np.float64]:
        """Area of each polygon (N,) in square metres; NaN for one that reaches off the earth.

        Args:
            xy: vertices (V, 2) of all rings one after another, holes running against their exteriors.
            rings: where each ring begins in `xy` (R + 1,); each ends on its first vertex.
            polygons: where each polygon begins among the rings (N + 1,).
        """
        with np.errstate(invalid="ignore"):  # vertices off the earth, as in the space around a full disk
            x, y = self.plane(xy).T
            # From each ring's first vertex, lest digits be lost far from the origin.
            first = np.repeat(rings[:-1], np.diff(rings))
            x, y = x - x[first], y - y[first]
            twice = _sums(x[:-1] * y[1:] - x[1:] * y[:-1], rings)
            areas = np.abs(_totals(twice, polygons)) / 2
        return np.where(np.isfinite(areas), areas, np.nan)

    def perimeters(self, xy: Coordinates, rings: Offsets, polygons: Offsets) -> NDArray[np.float64]:
        """Length of all rings of each polygon (N,) in metres; NaN for one off the earth; arguments as of `areas`."""
        with np.errstate(invalid="ignore"):
            if self.is_planar:
                lengths = np.hypot(*np.diff(xy, axis=0).T) * self.system.unit
            else:
                longitude, latitude = np.degrees(self.system.angles(xy)).T
                geod = Geod(a=self.system.a, b=self.system.b)
                lengths = geod.inv(longitude[:-1], latitude[:-1], longitude[1:], latitude[1:])[2]
            perimeters = _totals(_sums(lengths, rings), polygons)
        return np.where(np.isfinite(perimeters), perimeters, np.nan)


def geodetic_measure(crs: Any, corners: Coordinates) -> GeodeticMeasure | None:
    """How polygons between four corners (4, 2) are measured; None where the coordinate system gives no metres."""
    system = geodetic_system(crs)
    plane = equal_area_plane(system, corners)
    if system is None or plane is None:
        return None
    return GeodeticMeasure(system, plane, system.areal_error(corners.mean(axis=0)) <= DISTORTION)


def _sums(of_edges: NDArray[np.float64], rings: Offsets) -> NDArray[np.float64]:
    """Sum of a value over the edges of each ring (R,), given for all steps from one vertex to the next (V - 1,)."""
    of_edges = of_edges.copy()
    of_edges[rings[1:-1] - 1] = 0  # from the last vertex of a ring to the first of the next
    return np.add.reduceat(of_edges, rings[:-1]) if len(rings) > 1 else np.zeros(0)


def _totals(of_rings: NDArray[np.float64], polygons: Offsets) -> NDArray[np.float64]:
    return np.add.reduceat(of_rings, polygons[:-1]) if len(polygons) > 1 else np.zeros(0)


# ------------------------------------------------------------------------------------------------ coordinate systems


@dataclass(frozen=True)
class GeodeticSystem:
    """Parameters of a geographic or projected coordinate system that measuring needs."""

    unit: float
    """Metres in one unit of x and y; radians where the system is geographic."""
    a: float
    b: float
    """Semi-axes of the ellipsoid in metres."""
    radians: float
    """Radians per unit of longitude and latitude: of a degree as a rule, but grads exist."""
    to_geographic: Transformer | None
    """From projected coordinates to longitude and latitude on the same datum; None where they are that already."""

    def angles(self, xy: Coordinates) -> Coordinates:
        """Longitude and latitude (V, 2) in radians; infinite where the point is off the map."""
        if self.to_geographic is None:
            return xy * self.radians
        return np.stack(self.to_geographic.transform(xy[:, 0], xy[:, 1]), axis=1) * self.radians

    def areal_error(self, centre: Coordinates) -> float:
        """Relative error of planar areas at a point (2,).

        Infinite where the system is geographic (it has no planar areas) or the point is off the map.
        """
        if self.to_geographic is None:
            return math.inf
        plane = azimuthal_plane(self, centre)
        if plane is None:
            return math.inf
        return abs(SAMPLE_M**2 / float(quadrangle_areas(plane(self.sample(centre))[None])[0]) - 1)

    def sample(self, centre: Coordinates) -> Coordinates:
        """The corners (4, 2) of a square of a kilometre about a point (2,) of a projected system."""
        return centre + SQUARE * (SAMPLE_M / self.unit)


def geodetic_system(crs: Any) -> GeodeticSystem | None:
    """The geodetic parameters of a coordinate system (rasterio's, pyproj's, or a name); None if it is a local one."""
    try:
        system = horizontal(CRS.from_user_input(crs)) if crs else None
        return None if system is None else geodetic_parameters(system)
    except (ProjError, ValueError):
        return None


def geodetic_parameters(crs: CRS) -> GeodeticSystem | None:
    """The geodetic parameters of a horizontal coordinate system; None for a local or an earth-centred one."""
    geographic = crs if crs.is_geographic else crs.geodetic_crs
    if geographic is None or geographic.ellipsoid is None or not (crs.is_geographic or crs.is_projected):
        return None
    return GeodeticSystem(
        unit=crs.axis_info[0].unit_conversion_factor,
        a=geographic.ellipsoid.semi_major_metre,
        b=geographic.ellipsoid.semi_minor_metre,
        radians=geographic.axis_info[0].unit_conversion_factor,
        to_geographic=None if crs.is_geographic else Transformer.from_crs(crs, geographic, always_xy=True),
    )


# ------------------------------------------------------------------------------------------------------------ planes


def equal_area_plane(system: GeodeticSystem | None, corners: Coordinates) -> Plane | None:
    """The plane with true areas for a scene with these corners (4, 2); None if the scene lies off the earth."""
    if system is None:
        return None
    if system.to_geographic is None:
        return cylindrical_plane(system, system.radians)
    centre = corners.mean(axis=0)
    if all(system.areal_error(point) <= DISTORTION for point in (centre, *corners)):
        return lambda xy: xy * system.unit
    if is_cylindrical(system.angles(corners)):
        return cylindrical_plane(system, radians_per_x(system, centre))
    return azimuthal_plane(system, centre)


def cylindrical_plane(system: GeodeticSystem, radians_per_x: float) -> Plane:
    """x along the equator, y by latitude. Longitude is taken from x itself, so there is no seam at 180°."""

    def plane(xy: Coordinates) -> Coordinates:
        latitude = system.angles(xy)[:, 1]
        return np.stack([system.a * radians_per_x * xy[:, 0], authalic_height(latitude, system.a, system.b)], axis=1)

    return plane


def authalic_height(latitude: NDArray[np.float64], a: float, b: float) -> NDArray[np.float64]:
    """Height in metres at which a latitude lies in the cylindrical equal-area projection: a q / 2.

    q after Snyder, Map Projections: A Working Manual (1987), equation 3-12. Latitudes past a pole, by half a pixel as
    a rule, count as the pole.
    """
    sine = np.sin(np.clip(latitude, -np.pi / 2, np.pi / 2))
    e2 = 1 - (b / a) ** 2
    if e2 < 1e-12:  # a sphere, for which q has the limit 2 sin
        return np.asarray(a * sine)
    e = math.sqrt(e2)
    return np.asarray(a / 2 * (1 - e2) * (sine / (1 - e2 * sine**2) + np.arctanh(e * sine) / e))


def is_cylindrical(angles: Coordinates) -> bool:
    """Whether a scene with these corners (4, 2) in radians has parallels for rows and meridians for columns.

    To 1e-9 radians, which is 6 mm on Earth.
    """
    (west, north), (west_too, south), (_, south_too), (_, north_too) = angles
    pairs = np.array([(west, west_too), (north, north_too), (south, south_too)])
    return bool(np.isfinite(pairs).all() and np.ptp(pairs, axis=1).max() < 1e-9)


def radians_per_x(system: GeodeticSystem, centre: Coordinates) -> float:
    """Radians of longitude in one unit of x, the same all over a cylindrical projection."""
    square = system.sample(centre)
    difference = np.diff(system.angles(square[1:3])[:, 0])[0]
    return float(math.remainder(difference, math.tau) / (square[2, 0] - square[1, 0]))


def azimuthal_plane(system: GeodeticSystem, centre: Coordinates) -> Plane | None:
    """Lambert's azimuthal equal-area projection about a point (2,); None if the point is off the map."""
    longitude, latitude = np.degrees(system.angles(centre[None])[0])
    if not (math.isfinite(longitude) and abs(latitude) <= 90):
        return None
    lambert = Transformer.from_pipeline(
        f"+proj=laea +lat_0={latitude:.12f} +lon_0={longitude:.12f} +a={system.a!r} +b={system.b!r}"
    )

    def plane(xy: Coordinates) -> Coordinates:
        longitude, latitude = system.angles(xy).T
        return np.stack(lambert.transform(longitude, latitude, radians=True), axis=1)

    return plane


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


# --------------------------------------------------------------------------------------------------------- measuring


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
