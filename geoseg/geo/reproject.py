"""Reprojection of polygons with longitudes unwrapped: they go on beyond 180°, where PROJ jumps to -180°.

In: coordinates in the system of a raster. Out: coordinates in another one; and whether polygons must then be split at
the antimeridian. Knows no files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.core.errors import OutputError
from geoseg.geo.antimeridian import SNAP, Shapes, split_at_180, unwrap_rings
from geoseg.geo.geodesy import Coordinates
from geoseg.geo.georef import Box

AXIS_POINTS = 65
"""Sample points along each side of a raster, from which longitudes are unwrapped."""


@dataclass(frozen=True)
class Projection:
    """The transformation of polygons from one coordinate system to another."""

    source: CRS
    """The system that polygons are in."""
    target: CRS
    """The system that they are transformed to."""
    box: Box
    """Bounding box of the polygons, in coordinates of `source`."""
    period: float | None
    """Period of x in `target`, e.g. 360 for degrees of longitude: x is unwrapped. None where x is not periodic."""

    @property
    def crosses_180(self) -> bool:
        """Whether polygons may cross 180°, so that they must be split there."""
        return self.target.is_geographic and self.period is not None and not self._stays_within_180

    @property
    def contains_pole(self) -> bool:
        """Whether x is periodic in `target` but cannot be unwrapped all over the box, because a pole lies in it."""
        return self.period is not None and self._reference_x is None

    @cached_property
    def target_bounds(self) -> Box:
        """Bounding box in `target` of the sample points that can be transformed; not finite if none can."""
        found = self._sampled.reshape(-1, 2)
        found = found[np.isfinite(found).all(axis=1)]
        low, high = found.min(axis=0, initial=np.inf), found.max(axis=0, initial=-np.inf)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def reproject(self, xy: Coordinates) -> Coordinates:
        """Transform vertices (V, 2), and unwrap them if they cross 180°.

        Raises:
            OutputError: if one cannot be transformed.
        """
        moved = self._transform(xy)
        if not np.isfinite(moved).all():
            raise OutputError(
                f"the raster reaches beyond what {self.target.name} can show: write its polygons in its own "
                "coordinates, as .gpkg without to_crs"
            )
        return self._unwrap(xy, moved) if self.crosses_180 else moved

    def unwrapped(self, xy: Coordinates) -> Coordinates:
        """Transform coordinates (V, 2) and unwrap x; infinite where that is impossible."""
        return self._unwrap(xy, self._transform(xy))

    def _unwrap(self, xy: Coordinates, moved: Coordinates) -> Coordinates:
        """Transformed coordinates (V, 2) with x unwrapped: it goes on where PROJ jumps to the other end of the map."""
        if self.period is None or self._reference_x is None:
            return moved
        with np.errstate(invalid="ignore"):  # of points that cannot be transformed
            x = moved[:, 0] + self.period * np.round((self._expected(xy) - moved[:, 0]) / self.period)
        return np.column_stack([x, moved[:, 1]])

    def split(self, shapes: Shapes) -> Shapes:
        """Split polygons (N,) of reprojected vertices at 180°: multipolygons (N,), exteriors counter-clockwise."""
        within = unwrap_rings(shapes) if self._reference_x is None else split_at_180(shapes)
        parts, owners = shapely.get_parts(within, return_index=True)
        areas = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        found = np.full(len(shapes), shapely.MultiPolygon(), object)
        shapely.multipolygons(parts[areas], indices=owners[areas], out=found)
        return np.asarray(shapely.orient_polygons(found), object)

    @cached_property
    def _transformer(self) -> Transformer:
        return Transformer.from_crs(self.source, self.target, always_xy=True)

    @cached_property
    def _stays_within_180(self) -> bool:
        """Whether no part of the box comes near 180°."""
        reference = self._reference_x
        if reference is None:
            return False
        if self.source.is_geographic:
            return bool(np.abs(reference).max() < 180 + SNAP)
        step = max(float(np.abs(np.diff(reference, axis=axis)).max()) for axis in (0, 1))
        return bool(np.abs(reference).max() + step < 180)

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x (S,) and y (S,) of the sample points."""
        left, bottom, right, top = self.box
        return np.linspace(left, right, AXIS_POINTS), np.linspace(bottom, top, AXIS_POINTS)

    @cached_property
    def _reference_x(self) -> NDArray[np.float64] | None:
        """x (S, S) of the sample points in `target`, unwrapped; None if they cannot be, as around a pole."""
        if self.period is None:
            return None
        found = self._sampled[..., 0]
        if not np.isfinite(found).all():
            return None
        found = np.unwrap(found, period=self.period, axis=1)
        found += (np.unwrap(found[:, 0], period=self.period) - found[:, 0])[:, None]
        return found if np.abs(np.diff(found, axis=0)).max() < self.period / 2 else None

    @cached_property
    def _sampled(self) -> Coordinates:
        """Coordinates (S, S, 2) of the sample points in `target`, not unwrapped."""
        x, y = np.meshgrid(*self._axes)
        return self._transform(np.column_stack([x.ravel(), y.ravel()])).reshape(*x.shape, 2)

    def _expected(self, xy: Coordinates) -> NDArray[np.float64]:
        """x (V,) of vertices in `target`, interpolated between the unwrapped sample points."""
        reference = self._reference_x
        assert reference is not None  # asked only where there is one
        places = []
        for axis, values in enumerate(self._axes):
            spread = values[-1] - values[0]
            places.append(np.clip((xy[:, axis] - values[0]) / spread * (AXIS_POINTS - 1), 0, AXIS_POINTS - 1))
        (right, left), (up, down) = ((p - (whole := np.minimum(p.astype(int), AXIS_POINTS - 2)), whole) for p in places)
        low = reference[down, left] * (1 - right) + reference[down, left + 1] * right
        high = reference[down + 1, left] * (1 - right) + reference[down + 1, left + 1] * right
        return np.asarray(low * (1 - up) + high * up)

    def _transform(self, xy: Coordinates) -> Coordinates:
        """Transform coordinates (V, 2), not unwrapped; infinite where that is impossible."""
        return np.stack(self._transformer.transform(*xy.T), axis=1)


def projection_of(source: Any, target: CRS, corners: Coordinates) -> Projection:
    """The transformation to another coordinate system for polygons between four corners (4, 2)."""
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    box = Box(float(left), float(bottom), float(right), float(top))
    is_in_degrees = target.is_geographic and abs(math.degrees(target.axis_info[0].unit_conversion_factor) - 1) < 1e-9
    return Projection(CRS.from_user_input(source), target, box, 360.0 if is_in_degrees else None)
