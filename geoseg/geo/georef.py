"""Georeferencing of rasters. In: transforms and coordinate systems. Out: grids, offsets, boxes. Reads nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import rasterio
from affine import Affine
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from geoseg.geo.crs import can_transform, crs_name, is_map_crs, same_horizontal_crs
from geoseg.geo.grid import Window


class Box(NamedTuple):
    """A rectangle whose sides run along the axes of a CRS, in its units."""

    left: float
    bottom: float
    right: float
    top: float

    @property
    def is_finite(self) -> bool:
        """Whether all sides are finite."""
        return all(map(math.isfinite, self))

    def shift(self, x: float) -> Box:
        """The box moved along x."""
        return Box(self.left + x, self.bottom, self.right + x, self.top)


@dataclass(frozen=True)
class PixelGrid:
    """The pixel grid of a raster: its size and georeferencing."""

    height: int
    """Rows."""
    width: int
    """Columns."""
    transform: Affine
    """Pixel corner (column, row) -> CRS coordinates."""
    crs: CRS | None
    """Coordinate system, if it is known."""

    @property
    def is_georeferenced(self) -> bool:
        """Whether the raster has a transform; one without has the identity."""
        return not self.transform.is_identity

    @property
    def is_on_map(self) -> bool:
        """Whether its place on the earth is known: it has a transform, and a projected or geographic CRS."""
        return self.is_georeferenced and is_map_crs(self.crs)

    @property
    def is_upright(self) -> bool:
        """Whether rows run along the x axis of the CRS."""
        return bool(self.transform.b == self.transform.d == 0)

    @property
    def step(self) -> float:
        """Length of a pixel's upper side, in CRS units."""
        return math.hypot(self.transform.a, self.transform.d)

    @property
    def bounds(self) -> Box:
        """Its bounding box, in CRS units."""
        return self.box(Window(0, 0, self.height, self.width))

    @property
    def extent(self) -> str:
        """Its bounding box as text."""
        return ", ".join(f"{value:.10g}" for value in self.bounds)

    def can_be_compared_with(self, other: PixelGrid) -> bool:
        """Whether overlaps of two rasters can be found: both have a transform, and each a CRS, or neither has one."""
        return self.is_georeferenced and other.is_georeferenced and can_transform(self.crs, other.crs)

    def same_as(self, other: PixelGrid) -> bool:
        """Whether the pixels coincide, to a hundredth of a pixel."""
        return self.overlays(other) and same_horizontal_crs(self.crs, other.crs)

    def overlays(self, other: PixelGrid) -> bool:
        """Whether the pixels have the same coordinates, to a hundredth of a pixel, whatever the CRS."""
        if (self.height, self.width) != (other.height, other.width):
            return False
        corners = (0, 0), (self.width, 0), (0, self.height)
        return all(math.dist(self.xy(*corner), other.xy(*corner)) < 0.01 * self.step for corner in corners)

    def xy(self, column: float, row: float) -> tuple[float, float]:
        """CRS coordinates of a point given in pixels from the upper left corner."""
        t = self.transform
        return t.a * column + t.b * row + t.c, t.d * column + t.e * row + t.f

    def offset_of(self, other: PixelGrid) -> tuple[int, int] | None:
        """Row and column of the other's corner in this one's pixels; None if their pixels do not coincide."""
        a, b = self.transform, other.transform
        if not (self.is_georeferenced and other.is_georeferenced and self.is_upright and other.is_upright):
            return None
        if max(abs(a.a - b.a), abs(a.e - b.e)) > 1e-6 * self.step or not same_horizontal_crs(self.crs, other.crs):
            return None
        row, column = self.nearest_offset(other)
        x, y = self.xy(column, row)
        return (row, column) if max(abs(x - b.c), abs(y - b.f)) <= 0.01 * self.step else None

    def nearest_offset(self, other: PixelGrid) -> tuple[int, int]:
        """Row and column of the other's corner in this one's pixels, rounded; both grids must be upright."""
        a, b = self.transform, other.transform
        return round((b.f - a.f) / a.e), round((b.c - a.c) / a.a)

    def part(self, window: Window) -> PixelGrid:
        """The grid of a window, which may reach beyond the raster."""
        t, (x, y) = self.transform, self.xy(window.col, window.row)
        return PixelGrid(window.height, window.width, Affine(t.a, t.b, x, t.d, t.e, y), self.crs)

    def box(self, window: Window) -> Box:
        """Bounding box of a window, in CRS units."""
        rows, columns = (window.row, window.row + window.height), (window.col, window.col + window.width)
        xs, ys = zip(*(self.xy(column, row) for column in columns for row in rows), strict=True)
        return Box(min(xs), min(ys), max(xs), max(ys))

    def window_of(self, box: Box) -> Window:
        """Smallest window around a finite box, not clipped."""
        back = ~self.transform
        corners = [(x, y) for x in (box.left, box.right) for y in (box.bottom, box.top)]
        columns = [back.a * x + back.b * y + back.c for x, y in corners]
        rows = [back.d * x + back.e * y + back.f for x, y in corners]
        left, top = math.floor(min(columns) + 1e-6), math.floor(min(rows) + 1e-6)
        return Window(top, left, math.ceil(max(rows) - 1e-6) - top, math.ceil(max(columns) - 1e-6) - left)

    def __str__(self) -> str:
        return (
            f"{self.width} × {self.height} pixels of {self.step:g} "
            f"from {self.transform.c:.10g}, {self.transform.f:.10g} "
            f"in {crs_name(self.crs)}"
        )


def grow(window: Window, px: int) -> Window:
    """A window enlarged by so many pixels on each side."""
    return Window(window.row - px, window.col - px, window.height + 2 * px, window.width + 2 * px)


def grid_of(dataset: rasterio.DatasetReader) -> PixelGrid:
    """Grid of an open raster."""
    return PixelGrid(dataset.height, dataset.width, usable_transform(dataset.transform), dataset.crs)


def usable_transform(transform: Affine) -> Affine:
    """The transform of a file; the identity if it cannot be inverted, as one with zeros or NaN."""
    is_sound = all(map(math.isfinite, transform[:6])) and transform.determinant != 0
    return transform if is_sound else Affine.identity()


def reproject_box(box: Box, source: CRS | None, target: CRS | None, *, past_180: bool = False) -> Box | None:
    """Bounding box in `target` of a box in `source`; None if it cannot be transformed.

    A box across the antimeridian gets all longitudes, or, if `past_180`, a right side beyond 180°.
    """
    if same_horizontal_crs(source, target):
        return box
    if source is None or target is None:
        return None
    try:
        left, bottom, right, top = _transformer(source.to_wkt(), target.to_wkt()).transform_bounds(*box)
    except (ProjError, CRSError):  # there is no transformation from a local system
        return None
    if left > right:
        left, right = (left, right + 360) if past_180 else (-180.0, 180.0)
    moved = Box(left, bottom, right, top)
    return moved if moved.is_finite else None


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
