"""Rasters brought to the pixel grid of another, window by window.

In: the grids of a raster and of a scene. Out: for a window of the scene, the raster's pixels that it needs, and their
values on the scene's grid: averaged by area where the scene's pixels are the larger ones, interpolated linearly where
they are the smaller ones, over pixels with data only.

Pixel i covers [i, i + 1). Along each axis, pixel k of the scene covers [first + k step, first + (k + 1) step) of the
raster: offsets by parts of a pixel, as between Landsat's panchromatic band and the others, are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.averaging import area_sums
from geoseg.raster.validity import Mask, Values

_CLOSE_PX = 0.01
"""Offset in pixels up to which pixels count as the same: coordinates are rounded when they are written."""
_CHUNK_PX = 2**23
"""Pixels of a raster held at once while a window is averaged."""
_HELD = 1e-6
"""Share of a pixel that must hold data."""


@dataclass(frozen=True)
class AxisAlignment:
    """Position of a scene's pixels along one axis of a raster."""

    first: float
    """Where the scene's first pixel begins, in pixels of the raster."""
    step: float
    """Length of a pixel of the scene, in pixels of the raster."""
    size: int
    """Pixels of the raster."""

    @classmethod
    def of(cls, first: float, step: float, size: int, length: int) -> AxisAlignment:
        """Position of `length` pixels; rounded where they coincide with pixels of the raster."""
        if abs(step - 1) * length < _CLOSE_PX and abs(first - round(first)) < _CLOSE_PX:
            return cls(float(round(first)), 1.0, size)
        return cls(first, step, size)

    @property
    def is_exact(self) -> bool:
        """Whether pixels coincide."""
        return self.step == 1 and self.first == int(self.first)

    @property
    def averages(self) -> bool:
        """Whether a pixel of the scene is as long as one of the raster, or longer."""
        return self.step >= 1

    def overlap(self, length: int) -> float:
        """How far `length` pixels of the scene and the raster overlap, in pixels of the raster."""
        return min(self.first + length * self.step, self.size) - max(self.first, 0)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """First and last-plus-one pixel of the raster for some pixels of the scene; they may lie beyond it."""
        if self.averages:
            return math.floor(self._at(start) + 1e-9), math.ceil(self._at(stop) - 1e-9)
        return math.floor(self._at(start + 0.5) - 0.5), math.floor(self._at(stop - 0.5) - 0.5) + 2

    def sums(self, values: Values, start: int, stop: int, axis: int) -> Values:
        """Sums by area or linear interpolations of values that begin at the first needed pixel."""
        begin = self.needed(start, stop)[0]
        if self.averages:
            edges = self._at(np.arange(start, stop + 1, dtype=np.float64)) - begin
            return area_sums(values, np.maximum(edges, 0), axis)
        centres = self._at(np.arange(start, stop) + 0.5) - 0.5 - begin
        before = np.clip(np.floor(centres).astype(int), 0, values.shape[axis] - 2)
        part = (centres - before).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        mixed: Values = values.take(before, axis) * (1 - part) + values.take(before + 1, axis) * part
        return mixed

    def nearest(self, start: int, stop: int) -> NDArray[np.int64]:
        """The raster's pixels in which the centres of some pixels of the scene lie; they may lie beyond it."""
        return np.floor(self._at(np.arange(start, stop) + 0.5) + 1e-9).astype(np.int64)

    def _at(self, pixel: float | NDArray[np.floating]) -> float | NDArray[np.floating]:
        return self.first + pixel * self.step


@dataclass(frozen=True)
class Alignment:
    """Position of a scene's pixels in a raster."""

    rows: AxisAlignment
    """Along rows."""
    cols: AxisAlignment
    """Along columns."""

    @classmethod
    def between(cls, scene: PixelGrid, raster: PixelGrid) -> Alignment | None:
        """Alignment of two grids of one CRS; None if their axes are not parallel, or run in opposite directions."""
        to_raster = ~raster.transform @ scene.transform
        skew = abs(to_raster.b) * scene.height + abs(to_raster.d) * scene.width
        if skew > _CLOSE_PX or to_raster.a <= 0 or to_raster.e <= 0:
            return None
        return cls(
            AxisAlignment.of(to_raster.f, to_raster.e, raster.height, scene.height),
            AxisAlignment.of(to_raster.c, to_raster.a, raster.width, scene.width),
        )

    @classmethod
    def onto(cls, scene: PixelGrid, raster: PixelGrid) -> Alignment:
        """Alignment of two grids of one CRS that are known to have parallel axes."""
        found = cls.between(scene, raster)
        assert found is not None
        return found

    @property
    def is_exact(self) -> bool:
        """Whether pixels coincide, so that none is resampled."""
        return self.rows.is_exact and self.cols.is_exact

    def overlaps(self, height: int, width: int) -> bool:
        """Whether a scene of that size has pixels in common with the raster."""
        return self.rows.overlap(height) > _CLOSE_PX and self.cols.overlap(width) > _CLOSE_PX

    def covers(self, height: int, width: int) -> bool:
        """Whether the raster covers a scene of that size, but for a part of a pixel."""
        return all(
            axis.overlap(length) > length * axis.step - 1 for axis, length in ((self.rows, height), (self.cols, width))
        )

    def pieces(self, window: Window) -> Iterator[Window]:
        """Cut a window into pieces that need no more than _CHUNK_PX pixels of the raster each."""
        ratio = max(self.rows.step, 1) * max(self.cols.step, 1)
        side = max(1, math.isqrt(int(_CHUNK_PX / ratio)))
        for strip in window.bands(side):
            for col in range(strip.col, strip.col + strip.width, side):
                yield Window(strip.row, col, strip.height, min(side, strip.col + strip.width - col))

    def needed(self, window: Window) -> Window:
        """The raster's pixels for a window of the scene; they may lie beyond the raster."""
        top, bottom = self.rows.needed(window.row, window.row + window.height)
        left, right = self.cols.needed(window.col, window.col + window.width)
        return Window(top, left, bottom - top, right - left)

    def resample(self, values: Values, valid: Mask, window: Window) -> tuple[Values, Mask]:
        """Resample the needed pixels to a window of the scene.

        Args:
            values: their values (C, h, w).
            valid: which of them hold data (h, w).
            window: the window.

        Returns:
            float32 values (C, n, m), 0 without data; and which pixels hold data (n, m): those of which a part does,
            and where values are interpolated, those whose centre lies in a pixel that does.
        """
        weighted = np.concatenate([np.where(valid, values, 0), valid[None]], dtype=np.float32)
        rows, cols = (window.row, window.row + window.height), (window.col, window.col + window.width)
        summed = self.rows.sums(self.cols.sums(weighted, *cols, axis=2), *rows, axis=1)
        held = (summed[-1] > _HELD) & self._has_centre(valid, window)
        return np.divide(summed[:-1], summed[-1], out=np.zeros_like(summed[:-1]), where=held), held

    def _has_centre(self, valid: Mask, window: Window) -> Mask:
        """Whether pixels have their centre in one with data (n, m); true if they are averaged along both axes."""
        if self.rows.averages and self.cols.averages:
            return np.ones((window.height, window.width), bool)
        place = self.needed(window)
        rows = self.rows.nearest(window.row, window.row + window.height) - place.row
        cols = self.cols.nearest(window.col, window.col + window.width) - place.col
        inside: Mask = valid[np.clip(rows, 0, place.height - 1)[:, None], np.clip(cols, 0, place.width - 1)]
        return inside
