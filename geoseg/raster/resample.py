"""A scene at another ground resolution, resampled window by window.

In: a scene and the size of the resampled raster. Out: windows of that raster, averaged by area if it is coarser and
interpolated linearly if it is finer, over pixels with data only; and logits interpolated to the scene's grid.

Pixel i covers [i, i + 1). A coarse pixel k covers [k r, (k + 1) r) of the scene with r the *actual* ratio of the two
sizes, not the nominal one, so that nothing drifts towards the far edge.

The way back is linear between the centres of the resampled pixels, so that borders of classes run between them. Between
two windows it needs values of both: a window of the resampled raster stands for the scene's pixels from the centre of
its first pixel to that of the one behind its last, its *lap*, which is given along with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.raster.averaging import area_sums
from geoseg.raster.readable import Readable
from geoseg.raster.validity import Mask, Values

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_PX = 2**23
"""Pixels of the scene held at once while a window is averaged."""
_BAND_PX = 2**20
"""Pixels of the scene to which logits are interpolated at once: few enough to stay near the cache."""
_LEAST_LOGIT = -30.0
"""Logits count as at most this far below the highest: they may be the logarithm of 0, between which no line runs."""


class Source(Protocol):
    """A scene at its own or at another resolution, read window by window."""

    height: int
    width: int
    lap: int
    """Pixels behind a window of logits that `to_scene` takes along with it."""

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

    def scene_pixels(self, window: Window, image: Values, valid: Mask) -> Iterator[tuple[Window, Values, Mask]]:
        """Yield the scene's pixels in `scene_window(window)` in bands, at least one, given the source's pixels.

        Returns:
            Windows of the scene, with values (C, n, m) and masks (n, m).
        """
        ...

    def to_scene(self, logits: Tensor, valid: Tensor, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Interpolate logits to the scene's pixels in `scene_window(window)`, and yield them in bands, at least one.

        Args:
            logits: (K, h, w), or higher and wider by `lap` unless the source ends there.
            valid: which of their pixels hold data, of the same height and width, bool, on the host.
            window: the window of the source (h, w).

        Returns:
            Windows of the scene with their logits (K, n, m).
        """
        ...


class Bands(Readable, Protocol):
    """Bands of a scene at its own resolution."""

    @property
    def bands(self) -> Sequence[int]:
        """Their numbers."""
        ...

    @property
    def has_wide_blocks(self) -> bool:
        """Whether the file's blocks are whole rows."""
        ...


class NativeScene:
    """A scene at its own resolution."""

    lap = 0

    def __init__(self, scene: Bands):
        self._scene = scene
        self.height, self.width = scene.height, scene.width
        self.has_wide_blocks = scene.has_wide_blocks

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window."""
        return self._scene.read(window)

    def scene_window(self, window: Window) -> Window:
        """Return the window as it is."""
        return window

    def scene_pixels(self, window: Window, image: Values, valid: Mask) -> Iterator[tuple[Window, Values, Mask]]:
        """Yield both as they are."""
        yield window, image, valid

    def to_scene(self, logits: Tensor, valid: Tensor, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Yield the logits as they are."""
        yield window, logits


class ResampledScene:
    """A scene resampled to height × width pixels."""

    lap = 1

    def __init__(self, scene: Bands, height: int, width: int):
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
        """Return the scene's pixels with centres between those of a window's first pixel and the one behind its last.

        At the source's edges it is all pixels up to the scene's; partitions stay partitions.
        """
        top, bottom = (
            _native_index(r, self._scene.height, self.height) for r in (window.row, window.row + window.height)
        )
        left, right = (_native_index(c, self._scene.width, self.width) for c in (window.col, window.col + window.width))
        return Window(top, left, bottom - top, right - left)

    def scene_pixels(self, window: Window, image: Values, valid: Mask) -> Iterator[tuple[Window, Values, Mask]]:
        """Read the scene's pixels in `scene_window(window)`, a few million at a time."""
        native = self.scene_window(window)
        if not native.pixels:
            size = native.height, native.width
            yield native, np.empty((len(image), *size), image.dtype), np.empty(size, bool)
            return
        for band in native.bands(max(1, _CHUNK_PX // native.width)):
            yield band, *self._scene.read(band)

    def to_scene(self, logits: Tensor, valid: Tensor, window: Window) -> Iterator[tuple[Window, Tensor]]:
        """Interpolate logits linearly between pixels with data, and yield them a million pixels or so at a time."""
        native = self.scene_window(window)
        weight, has_holes = valid.to(logits), not bool(valid.all())
        weighted = (logits - logits.amax(dim=0)).clamp(min=_LEAST_LOGIT).nan_to_num(0) * weight
        cols = _Between(native.col, native.width, self._scene.width, self.width, window.col, logits.shape[2])
        for band in native.bands(max(1, _BAND_PX // max(1, native.width))) if native.pixels else [native]:
            rows = _Between(band.row, band.height, self._scene.height, self.height, window.row, logits.shape[1])
            total = _mixed(weighted, rows, cols)
            if has_holes:
                total /= _mixed(weight[None], rows, cols)
            yield band, total

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
    """First of the scene's pixels whose centre is at or behind that of pixel k of the resampled axis, or its edge."""
    if k <= 0 or k >= size:
        return 0 if k <= 0 else native
    return -(-((2 * k + 1) * native - size) // (2 * size))


class _Between:
    """The scene's pixels along one axis, as places between the centres of a window's pixels."""

    def __init__(self, start: int, count: int, native: int, size: int, first: int, held: int):
        """Place `count` of `native` pixels, from `start` on, between `held` of `size` pixels, from `first` on."""
        doubled = (2 * np.arange(start, start + count, dtype=np.int64) + 1) * size  # in 2 * native-ths
        centres = np.clip(doubled / (2 * native) - 0.5 - first, 0, max(held - 1, 0))
        self._before = np.floor(centres).astype(np.int64)
        self._after = np.minimum(self._before + 1, max(held - 1, 0))
        self._share = (centres - self._before).astype(np.float32)
        self.needed = slice(int(self._before.min(initial=held)), int(self._after.max(initial=-1)) + 1)
        """The window's pixels between which there are any."""
        self.enlarges = count > self.needed.stop - self.needed.start
        """Whether there are more of them than of these."""

    def mix(self, values: Tensor, axis: int, start: int = 0) -> Tensor:
        """Mix the values at both neighbours of each pixel along an axis, whose first value is that of pixel `start`."""
        import torch  # only logits are interpolated like this, of a network

        parts = self._before - start, self._after - start, self._share
        before, after, share = (torch.from_numpy(part).to(values.device) for part in parts)
        shape = [1] * values.ndim
        shape[axis] = -1
        return values.index_select(axis, before).lerp(values.index_select(axis, after), share.reshape(shape))


def _mixed(values: Tensor, rows: _Between, cols: _Between) -> Tensor:
    """Mix values (K, h, w) along both axes, along that first which makes fewer of them."""
    part, start = values[:, rows.needed], rows.needed.start
    if rows.enlarges:
        return rows.mix(cols.mix(part, 2), 1, start)
    return cols.mix(rows.mix(part, 1, start), 2)
