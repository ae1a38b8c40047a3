"""A scene at another ground resolution, resampled window by window.

In: a scene and the size of the resampled raster. Out: windows of that raster, averaged by area if it is coarser and
interpolated linearly if it is finer, over pixels with data only; and values resampled back to the scene's grid.

Pixel i covers [i, i + 1). A coarse pixel k covers [k r, (k + 1) r) of the scene with r the *actual* ratio of the two
sizes, not the nominal one, so that nothing drifts towards the far edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.raster.averaging import area_sums
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values

_CHUNK_PX = 2**23
"""Pixels of the scene held at once while a window is averaged."""


class Source(Protocol):
    """A scene at its own or at another resolution, read window by window."""

    height: int
    width: int

    @property
    def has_wide_blocks(self) -> bool:
        """Whether the file's blocks are whole rows."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the source: values (C, h, w), and which pixels hold data (h, w)."""
        ...

    def scene_window(self, window: Window) -> Window:
        """Return the scene's pixels that belong to a window; windows that partition the source partition the scene."""
        ...

    def scene_valid(self, window: Window, valid: Mask) -> Mask:
        """Return which of the scene's pixels in `scene_window(window)` hold data, given the source's mask (h, w)."""
        ...

    def to_scene(self, values: Values, window: Window) -> Values:
        """Resample values of a window (..., h, w) to the scene's pixels in `scene_window(window)`."""
        ...


class NativeScene:
    """A scene at its own resolution."""

    def __init__(self, scene: SceneBands):
        self._scene = scene
        self.height, self.width = scene.height, scene.width
        self.has_wide_blocks = scene.has_wide_blocks

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window."""
        return self._scene.read(window)

    def scene_window(self, window: Window) -> Window:
        """Return the window as it is."""
        return window

    def scene_valid(self, window: Window, valid: Mask) -> Mask:
        """Return the mask as it is."""
        return valid

    def to_scene(self, values: Values, window: Window) -> Values:
        """Return the values as they are."""
        return values


class ResampledScene:
    """A scene resampled to height × width pixels."""

    def __init__(self, scene: SceneBands, height: int, width: int):
        self._scene, self.height, self.width = scene, height, width
        self.has_wide_blocks = scene.has_wide_blocks

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside the resampled raster: float32 values (C, h, w), and which pixels hold data (h, w)."""
        image = np.empty((len(self._scene.bands), window.height, window.width), np.float32)
        valid = np.empty((window.height, window.width), bool)
        for piece in self._pieces(window):
            where = piece.shift(-window.row, -window.col).slices
            image[:, *where], valid[where] = self._read_piece(piece)
        return image, valid

    def scene_window(self, window: Window) -> Window:
        """Return the scene's pixels whose centres lie in a window; partitions stay partitions."""
        top, bottom = (
            _native_index(r, self._scene.height, self.height) for r in (window.row, window.row + window.height)
        )
        left, right = (_native_index(c, self._scene.width, self.width) for c in (window.col, window.col + window.width))
        return Window(top, left, bottom - top, right - left)

    def scene_valid(self, window: Window, valid: Mask) -> Mask:
        """Read from the scene which of its pixels in `scene_window(window)` hold data."""
        native = self.scene_window(window)
        return self._scene.read(native)[1] if native.pixels else np.empty((native.height, native.width), bool)

    def to_scene(self, values: Values, window: Window) -> Values:
        """Return for the scene's pixels in `scene_window(window)` the values (..., h, w) at their centres."""
        native = self.scene_window(window)
        rows = _resampled_index(native.row, native.height, self._scene.height, self.height) - window.row
        cols = _resampled_index(native.col, native.width, self._scene.width, self.width) - window.col
        taken: Values = values[..., rows[:, None], cols]
        return taken

    def _pieces(self, window: Window) -> Iterator[Window]:
        """Cut a window into pieces that need no more than _CHUNK_PX pixels of the scene each."""
        ratio = max(self._scene.height / self.height, 1) * max(self._scene.width / self.width, 1)
        side = max(1, math.isqrt(int(_CHUNK_PX / ratio)))
        bottom, right = window.row + window.height, window.col + window.width
        for row in range(window.row, bottom, side):
            for col in range(window.col, right, side):
                yield Window(row, col, min(side, bottom - row), min(side, right - col))

    def _read_piece(self, window: Window) -> tuple[Values, Mask]:
        """Read a piece: resample values with data, and their weights, along both axes."""
        rows = _Resampling(window.row, window.row + window.height, self.height, self._scene.height)
        cols = _Resampling(window.col, window.col + window.width, self.width, self._scene.width)
        image, valid = self._scene.read(Window(rows.first, cols.first, rows.last - rows.first, cols.last - cols.first))
        weight = rows.apply(cols.apply(valid[None].astype(np.float32), 2), 1)
        total = rows.apply(cols.apply(np.where(valid, image, 0).astype(np.float32), 2), 1)
        held = weight[0] > 1e-6
        return np.divide(total, weight, out=np.zeros_like(total), where=held), held


class _Resampling:
    """Resampling of a window along one axis: the scene's pixels that it needs, and their sums or interpolations."""

    def __init__(self, start: int, stop: int, size: int, native: int):
        self._coarser = native >= size
        ratio = native / size
        if self._coarser:
            self._edges = np.arange(start, stop + 1, dtype=np.float64) * ratio
            self.first, self.last = int(self._edges[0]), min(native, int(np.ceil(self._edges[-1] - 1e-9)))
        else:
            self._centres = np.clip((np.arange(start, stop) + 0.5) * ratio - 0.5, 0, native - 1)
            self.first, self.last = int(self._centres[0]), min(native, int(self._centres[-1]) + 2)

    def apply(self, values: Values, axis: int) -> Values:
        """Resample values that start at `first` along an axis."""
        if self._coarser:
            return area_sums(values, self._edges - self.first, axis)
        return _interpolate(values, self._centres - self.first, axis)


def _interpolate(values: Values, centres: NDArray[np.float64], axis: int) -> Values:
    """Interpolate values linearly at fractional positions."""
    before = np.floor(centres).astype(int)
    after = np.minimum(before + 1, values.shape[axis] - 1)
    shape = [1] * values.ndim
    shape[axis] = -1
    t = (centres - before).astype(np.float32).reshape(shape)
    mixed: Values = values.take(before, axis) * (1 - t) + values.take(after, axis) * t
    return mixed


def _native_index(k: int, native: int, size: int) -> int:
    """First of the scene's pixels whose centre is at or behind edge k of the resampled axis."""
    return -(-(2 * k * native - size) // (2 * size))


def _resampled_index(start: int, count: int, native: int, size: int) -> NDArray[np.int64]:
    """Pixel of the resampled axis in which the centres of the scene's pixels start, start + 1, ... lie."""
    return (2 * np.arange(start, start + count, dtype=np.int64) + 1) * size // (2 * native)
