"""A scene shrunk for display: averaged while it is classified, so that it is not read a second time, then stretched.

In: blocks of band values. Out: a small image of bytes. Knows no files and no classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NODATA_GREY = (232, 235, 238)
"""Light enough to read as "nothing here" beside black shadows and white roofs."""

_TALLEST_EIGHT_BIT = 255.0
_NO_COUNTS = np.zeros((0, 0), np.float32)


def thumbnail_size(height: int, width: int, side: int = 1000) -> tuple[int, int]:
    """Rows and columns of a scene shrunk to at most ``side`` pixels; a smaller scene keeps its size."""
    scale = max(height, width) / side
    if scale <= 1:
        return height, width
    return max(1, round(height / scale)), max(1, round(width / scale))


@dataclass(frozen=True)
class ThumbnailRows:
    """Partial sums of some rows of a thumbnail."""

    first: int
    """The first row."""
    sums: NDArray[np.float32]
    """Sums of the valid values (C, n, wp)."""
    counts: NDArray[np.float32]
    """Number of valid values (n, wp)."""


@dataclass(frozen=True)
class ThumbnailPatch:
    """Partial sums of a rectangle of a thumbnail."""

    rows: slice
    """Its rows."""
    cols: slice
    """Its columns."""
    sums: NDArray[np.float32]
    """Sums of the valid values (C, n, m)."""
    counts: NDArray[np.float32]
    """Number of valid values (n, m)."""


class Thumbnail:
    """A small image of a scene, summed block by block: `feed` all of them, then `take` it.

    Row ``k`` of the thumbnail covers the scene's rows from ``k * H // hp`` up to ``(k + 1) * H // hp``, and columns
    alike, so that blocks need not end on cell borders. Memory: one float32 per thumbnail pixel and band plus one
    for the count, 16 MB for a square scene of three bands; the scene's size does not matter.

    Args:
        height: Scene rows.
        width: Scene columns.
        bands: Bands of every block fed.
        side: Longest side of the thumbnail in pixels.
    """

    def __init__(self, height: int, width: int, bands: int, side: int = 1000) -> None:
        self.height, self.width = thumbnail_size(height, width, side)
        self._row_edges = _cell_edges(height, self.height)
        self._col_edges = _cell_edges(width, self.width)
        self._sums = np.zeros((bands, self.height, self.width), np.float32)
        self._counts = np.zeros((self.height, self.width), np.float32)

    def feed(self, row: int, col: int, image: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Add a block as `shrink` takes it; every pixel of the scene at most once."""
        self.add_patch(self.shrink(row, col, image, valid))

    def add_patch(self, patch: ThumbnailPatch) -> None:
        """Add partial sums of a rectangle."""
        self._counts[patch.rows, patch.cols] += patch.counts
        self._sums[:, patch.rows, patch.cols] += patch.sums

    def shrink(self, row: int, col: int, image: NDArray[np.generic], valid: NDArray[np.bool_]) -> ThumbnailPatch:
        """The partial sums of a block whose upper left pixel is (``row``, ``col``).

        Args:
            row: Scene row of the block's first row.
            col: Scene column of the block's first column.
            image: (C, h, w) band values.
            valid: (h, w), False where there is no data; such pixels count nowhere.
        """
        if valid.size == 0:
            return ThumbnailPatch(slice(0, 0), slice(0, 0), np.zeros((len(image), 0, 0), np.float32), _NO_COUNTS)
        rows, row_cuts = _cells_of(self._row_edges, row, valid.shape[0])
        cols, col_cuts = _cells_of(self._col_edges, col, valid.shape[1])
        counts = _sum_cells(valid.astype(np.float32), row_cuts, col_cuts)
        sums = np.empty((len(image), *counts.shape), np.float32)
        for band, values in enumerate(image):  # one band at a time: the masked copy stays small
            masked = np.where(valid, values, 0).astype(np.float32)
            sums[band] = _sum_cells(masked, row_cuts, col_cuts)
        return ThumbnailPatch(rows, cols, sums, counts)

    def rows(self, row: int, height: int) -> ThumbnailRows:
        """Partial sums of the thumbnail's rows that cover ``height`` scene rows from ``row`` on."""
        rows, _ = _cells_of(self._row_edges, row, height)
        return ThumbnailRows(rows.start, self._sums[:, rows].copy(), self._counts[rows].copy())

    def add(self, rows: ThumbnailRows) -> None:
        """Add partial sums of another thumbnail of the same scene."""
        where = slice(rows.first, rows.first + len(rows.counts))
        self._sums[:, where] += rows.sums
        self._counts[where] += rows.counts

    def take(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Means of the valid pixels (C, hp, wp), and a mask (hp, wp), true where there were any."""
        mean = self._sums / np.maximum(self._counts, np.float32(1))
        return mean.astype(np.float32, copy=False), self._counts > 0


def _cell_edges(length: int, cells: int) -> NDArray[np.int64]:
    """First pixel of each of ``cells`` cells along a side of ``length`` pixels."""
    edges: NDArray[np.int64] = np.arange(cells, dtype=np.int64) * length // cells
    return edges


def _cells_of(edges: NDArray[np.int64], start: int, length: int) -> tuple[slice, NDArray[np.int64]]:
    """The cells that ``length`` pixels from ``start`` on meet, and the first pixel of each within the block."""
    first = int(np.searchsorted(edges, start, side="right")) - 1
    stop = int(np.searchsorted(edges, start + length, side="left"))
    return slice(first, stop), np.maximum(edges[first:stop] - start, 0)


def _sum_cells(
    values: NDArray[np.float32], row_cuts: NDArray[np.int64], col_cuts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Sums (rows, cols) of the cells that begin at the cuts."""
    sums = values
    if len(row_cuts) < values.shape[0]:
        sums = np.add.reduceat(sums, row_cuts, axis=0)
    if len(col_cuts) < values.shape[1]:
        sums = np.add.reduceat(sums, col_cuts, axis=1)
    return sums


def stretch(image: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Stretch band values to bytes for display.

    Ordinary 8-bit imagery is nearly left alone: one low and one high value for all bands, so that its colours do not
    shift. Anything else (reflectance, radar, dark 16-bit data) is stretched band by band from the 2nd to the 98th
    percentile of its valid pixels.

    Args:
        image: (1 to 3 bands, h, w); one band comes out grey, of two the first is shown, of more the first three.
        valid: (h, w); other pixels become light grey.

    Returns:
        (h, w, 3)
    """
    shown = np.asarray(image[:3] if len(image) >= 3 else image[:1], np.float32)
    usable = valid & np.isfinite(shown).all(axis=0)
    result = np.empty((*usable.shape, 3), np.uint8)
    result[:] = NODATA_GREY
    if usable.any():
        values = shown[:, usable]  # (bands, pixels)
        low, high = _common_limits(values) if _looks_eight_bit(values) else _band_limits(values)
        scaled = np.clip((values - low[:, None]) * (255 / (high - low))[:, None], 0, 255)
        result[usable] = np.rint(scaled).astype(np.uint8).T
    return result


def _looks_eight_bit(values: NDArray[np.float32]) -> bool:
    """Whether values look like 8-bit imagery: within 0 to 255, several different ones, not all dark."""
    within = values.min() >= 0 and values.max() <= _TALLEST_EIGHT_BIT
    return bool(within and np.percentile(values, 98) >= 80 and np.ptp(values) >= 40)


def _common_limits(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One low and one high limit for all bands, near 0 and 255."""
    low, high = np.percentile(values, (0.5, 99.5))
    bands = len(values)
    return np.full(bands, min(low, 25), np.float32), np.full(bands, max(high, 220), np.float32)


def _band_limits(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each band's 2nd and 98th percentile, widened where they are equal: a flat band comes out mid-grey."""
    low, high = np.percentile(values, (2, 98), axis=1).astype(np.float32)
    flat = high <= low
    low, high = np.where(flat, values.min(axis=1), low), np.where(flat, values.max(axis=1), high)
    margin = np.where(high <= low, np.maximum(np.abs(low), 1), 0).astype(np.float32)
    return low - margin, high + margin
