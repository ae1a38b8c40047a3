"""Coordinate systems as measuring on the earth needs them: unit, ellipsoid, the way back to longitude and latitude.

In: coordinate systems of rasterio or pyproj, or names. Out: systems that turn map coordinates into angles, into points
of the ellipsoid's surface, and into metres. Nothing here raises for an odd coordinate system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.geo.crs import horizontal

Coordinates = NDArray[np.float64]
"""x and y of V points (V, 2)."""

STEP_M = 200.0
"""Length over which a projection is differentiated: rounding (a nanometre) matters below it, the curvature above it."""


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

    def surface_points(self, xy: Coordinates) -> NDArray[np.float64]:
        """Earth-centred coordinates (V, 3) in metres of points on the ellipsoid; NaN where they are off the map."""
        with np.errstate(invalid="ignore"):  # infinite angles
            longitude, latitude = self.angles(xy).T
            e2 = 1 - (self.b / self.a) ** 2
            normal = self.a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
            across = normal * np.cos(latitude)
            points = (across * np.cos(longitude), across * np.sin(longitude), (1 - e2) * normal * np.sin(latitude))
            return np.stack(points, axis=1)

    def first_form(self, xy: Coordinates) -> NDArray[np.float64]:
        """Coefficients E, F, G (V, 3) of the first fundamental form of a projected system at some points.

        A step (dx, dy) on the map is sqrt(E dx² + 2 F dx dy + G dy²) metres long on the ellipsoid, and a piece of the
        map with the area dx dy covers sqrt(E G - F²) dx dy square metres. From central differences of earth-centred
        coordinates, which have no seam and no pole: exact to 1e-10. NaN off the map.
        """
        step = STEP_M / self.unit
        moves = np.array([(-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5)]) * step
        points = self.surface_points((xy[:, None] + moves).reshape(-1, 2)).reshape(-1, 4, 3)
        by_x, by_y = (points[:, 1] - points[:, 0]) / step, (points[:, 3] - points[:, 2]) / step
        return np.stack(
            [(one * other).sum(axis=1) for one, other in ((by_x, by_x), (by_x, by_y), (by_y, by_y))], axis=1
        )

    def densities(self, xy: Coordinates) -> NDArray[np.float64]:
        """Square metres of the ellipsoid in a unit square of the map at some points (V,); NaN off the map."""
        return density_of(self.first_form(xy))

    def areal_error(self, centre: Coordinates) -> float:
        """Relative error of planar areas at a point (2,).

        Infinite where the system is geographic (it has no planar areas) or the point is off the map.
        """
        if self.to_geographic is None:
            return math.inf
        density = float(self.densities(centre[None])[0])
        return abs(self.unit**2 / density - 1) if density > 0 else math.inf


def density_of(form: NDArray[np.float64]) -> NDArray[np.float64]:
    """Square metres in a unit square of the map (V,), from E, F, G (V, 3)."""
    e, f, g = form.T
    return np.asarray(np.sqrt(np.maximum(e * g - f * f, 0)))


def geodetic_system(crs: Any) -> GeodeticSystem | None:
    """The geodetic parameters of a coordinate system (rasterio's, pyproj's, or a name); None if it is a local one."""
    try:
        system = horizontal(CRS.from_user_input(crs)) if crs else None
        return None if system is None else _parameters(system)
    except (ProjError, ValueError):
        return None


def _parameters(crs: CRS) -> GeodeticSystem | None:
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
