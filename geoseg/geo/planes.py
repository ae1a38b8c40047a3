"""Planes with true areas: equal-area projections of the ellipsoid, for scenes that no polynomial describes.

In: a geodetic system, a scene's corners. Out: functions from map coordinates to metres on such a plane.

- Where longitude and latitude run along the axes (geographic; Mercator in all its kinds) the plane is a cylindrical
  equal-area projection: the straight edges of pixels stay straight there, so areas are exact.
- For any other projection it is Lambert's azimuthal equal-area projection about the scene's centre: vertices are exact,
  and the straight edge between two neighbouring ones is taken for a straight line of that plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.geo.geodetic_system import Coordinates, GeodeticSystem

Plane = Callable[[Coordinates], Coordinates]
"""CRS coordinates (V, 2) → metres (V, 2) on a plane with true areas."""

SAMPLE_M = 1000.0
"""Length in metres along which longitude is compared with x."""


def equal_area_plane(system: GeodeticSystem, corners: Coordinates) -> Plane | None:
    """The plane with true areas for a scene with these corners (4, 2); None if the scene lies off the earth."""
    if system.to_geographic is None:
        return cylindrical_plane(system, system.radians)
    centre = corners.mean(axis=0)
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
    half = np.array([SAMPLE_M / 2 / system.unit, 0])
    difference = np.diff(system.angles(np.stack([centre - half, centre + half]))[:, 0])[0]
    return float(math.remainder(difference, math.tau) / (2 * half[0]))


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
