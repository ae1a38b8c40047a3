"""Vertices into another coordinate system: longitudes go on where PROJ starts again at -180°.

In: coordinates of a raster's system. Out: those of another one, and what has to be done to polygons afterwards:
nothing, or to be cut at 180°. Knows no files.
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
from geoseg.geo.antimeridian import SNAP, unrolled, within_180
from geoseg.geo.georef import Box

Coordinates = NDArray[np.float64]
Shapes = NDArray[np.object_]

SAMPLES = 65
"""Places along each side of a raster at which longitudes are followed."""


@dataclass(frozen=True)
class Projection:
    """The way of polygons into another coordinate system."""

    source: CRS
    """The one they are in."""
    target: CRS
    """The one they are brought into."""
    box: Box
    """What they lie in, in coordinates of `source`."""
    turn: float | None
    """How far along x of `target` the same ground comes again, if it does: there x is led on."""

    @property
    def cuts(self) -> bool:
        """Whether polygons may reach across 180°, where they are cut: longitudes end there."""
        return self.target.is_geographic and self.turn is not None and not self._stays

    @property
    def is_round_pole(self) -> bool:
        """Whether x goes on in `target`, but cannot be followed all over the box: a pole is in it."""
        return self.turn is not None and self._reference is None

    @cached_property
    def reach(self) -> Box:
        """Bounding box in `target` of the samples that have a place there; not finite if none has."""
        found = self._sampled.reshape(-1, 2)
        found = found[np.isfinite(found).all(axis=1)]
        low, high = found.min(axis=0, initial=np.inf), found.max(axis=0, initial=-np.inf)
        return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))

    def move(self, xy: Coordinates) -> Coordinates:
        """Coordinates (V, 2) of vertices.

        Raises:
            OutputError: if one has no place there.
        """
        moved = self.plain(xy)
        if not np.isfinite(moved).all():
            raise OutputError(
                f"the raster reaches beyond what {self.target.name} can show: write its polygons in its own "
                "coordinates, as .gpkg without to_crs"
            )
        return self.lead_on(xy, moved) if self.cuts else moved

    def lead_on(self, xy: Coordinates, moved: Coordinates) -> Coordinates:
        """Moved coordinates (V, 2), of which x goes on where PROJ starts again at the other end of the map."""
        if self.turn is None or self._reference is None:
            return moved
        with np.errstate(invalid="ignore"):  # of places that are not on the map
            x = moved[:, 0] + self.turn * np.round((self._expected(xy) - moved[:, 0]) / self.turn)
        return np.column_stack([x, moved[:, 1]])

    def cut(self, shapes: Shapes) -> Shapes:
        """Polygons (N,) of moved vertices as multipolygons with longitudes up to 180°, exteriors counter-clockwise."""
        within = unrolled(shapes) if self._reference is None else within_180(shapes)
        parts, owners = shapely.get_parts(within, return_index=True)
        areas = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
        found = np.full(len(shapes), shapely.MultiPolygon(), object)
        shapely.multipolygons(parts[areas], indices=owners[areas], out=found)
        return np.asarray(shapely.orient_polygons(found), object)

    @cached_property
    def _transformer(self) -> Transformer:
        return Transformer.from_crs(self.source, self.target, always_xy=True)

    @cached_property
    def _stays(self) -> bool:
        """Whether nothing comes near 180°."""
        reference = self._reference
        if reference is None:
            return False
        if self.source.is_geographic:
            return bool(np.abs(reference).max() < 180 + SNAP)
        step = max(float(np.abs(np.diff(reference, axis=axis)).max()) for axis in (0, 1))
        return bool(np.abs(reference).max() + step < 180)

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x (S,) and y (S,) of the samples."""
        left, bottom, right, top = self.box
        return np.linspace(left, right, SAMPLES), np.linspace(bottom, top, SAMPLES)

    @cached_property
    def _reference(self) -> NDArray[np.float64] | None:
        """x (S, S) of the samples in `target`, each next to its neighbours'; None if they lie round a pole."""
        if self.turn is None:
            return None
        found = self._sampled[..., 0]
        if not np.isfinite(found).all():
            return None
        found = np.unwrap(found, period=self.turn, axis=1)
        found += (np.unwrap(found[:, 0], period=self.turn) - found[:, 0])[:, None]
        return found if np.abs(np.diff(found, axis=0)).max() < self.turn / 2 else None

    @cached_property
    def _sampled(self) -> Coordinates:
        """Coordinates (S, S, 2) of the samples as PROJ has them."""
        x, y = np.meshgrid(*self._axes)
        return self.plain(np.column_stack([x.ravel(), y.ravel()])).reshape(*x.shape, 2)

    def _expected(self, xy: Coordinates) -> NDArray[np.float64]:
        """About the x (V,) of vertices in `target`, from the samples around them."""
        reference = self._reference
        assert reference is not None  # asked only where there is one
        places = []
        for axis, values in enumerate(self._axes):
            spread = values[-1] - values[0]
            places.append(np.clip((xy[:, axis] - values[0]) / spread * (SAMPLES - 1), 0, SAMPLES - 1))
        (right, left), (up, down) = ((p - (whole := np.minimum(p.astype(int), SAMPLES - 2)), whole) for p in places)
        low = reference[down, left] * (1 - right) + reference[down, left + 1] * right
        high = reference[down + 1, left] * (1 - right) + reference[down + 1, left + 1] * right
        return np.asarray(low * (1 - up) + high * up)

    def plain(self, xy: Coordinates) -> Coordinates:
        """Coordinates (V, 2) as PROJ has them."""
        return np.stack(self._transformer.transform(*xy.T), axis=1)


def projection_of(source: Any, target: CRS, corners: Coordinates) -> Projection:
    """The way into another coordinate system for what lies within some corners (4, 2)."""
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    box = Box(float(left), float(bottom), float(right), float(top))
    is_in_degrees = target.is_geographic and abs(math.degrees(target.axis_info[0].unit_conversion_factor) - 1) < 1e-9
    return Projection(CRS.from_user_input(source), target, box, 360.0 if is_in_degrees else None)
