"""Class statistics of labelled rasters, counted once.

In: a labelled raster, read window by window. Out: for every small cell that has labels, its pixels per class and the
sums of its band values; normalization, sampling and splits follow from these without reading anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import LabelError
from geoseg.core.events import SILENT, Stage
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values
from geoseg.spec import IGNORE, NormalizationSpec

CELL_PX = 32
"""Side of a cell: fine enough to find windows of a class, coarse enough to hold a scene's cells in memory."""
READ_PX = 1024
"""Side of the windows that are read, a multiple of the cell."""
NOT_REPORTED = Stage(SILENT, "reading", 0)
"""Counts what nobody hears of."""


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels per class and sums of the values, in the cells of a raster that have labelled pixels."""

    cells: NDArray[np.int64]
    """First row and column of each cell, in pixels (N, 2)."""
    counts: NDArray[np.int64]
    """Labelled pixels with data per cell and class (N, K)."""
    sums: NDArray[np.float64]
    """Sum of these pixels' values per cell and band (N, C)."""
    squares: NDArray[np.float64]
    """Sum of these pixels' squared values per cell and band (N, C)."""
    lowest: NDArray[np.float64]
    """Lowest of these pixels' values per cell and band (N, C)."""
    highest: NDArray[np.float64]
    """Highest of these pixels' values per cell and band (N, C)."""

    @property
    def centres(self) -> NDArray[np.int64]:
        """Row and column of the cells' middles (N, 2), which may lie beyond the edge of the raster."""
        return self.cells + CELL_PX // 2

    def inside(self, windows: Iterable[Window]) -> Mask:
        """Which cells (N) lie in any of some windows, each of whole cells up to the edge of the raster."""
        places = self.cells // CELL_PX
        held = np.zeros(places.max(axis=0, initial=0) + 1, bool)
        for window in filter(attrgetter("pixels"), windows):
            rows, cols = (slice(s.start // CELL_PX, -(-s.stop // CELL_PX)) for s in window.slices)
            held[rows, cols] = True
        inside: Mask = held[places[:, 0], places[:, 1]]
        return inside

    def only(self, chosen: Mask) -> ClassStatistics:
        """The statistics of some cells (N)."""
        return ClassStatistics(*(column[chosen] for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """All of it, cell by cell."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Pixels per class (K)."""
        totals: NDArray[np.int64] = self.counts.sum(axis=0)
        return totals


def count_classes(raster: LabelledRaster, classes: int, bands: int, stage: Stage = NOT_REPORTED) -> ClassStatistics:
    """Count a raster, which is read once, in windows.

    Args:
        raster: what is counted.
        classes: K.
        bands: C.
        stage: advances by the pixels of each window that was read.

    Raises:
        LabelError: if the labels hold something unknown.
        SceneError: if the image is damaged.
    """
    parts = []
    for window in _windows(raster.height, raster.width):
        labels = raster.read_labels(window)
        if (labels != IGNORE).any():
            image, valid = raster.read(window)
            labels[~valid] = IGNORE
            parts.append(_count(image, labels, window, classes))
        stage.advance(window.pixels)
    empty = ClassStatistics(
        np.zeros((0, 2), int), np.zeros((0, classes), int), *(np.zeros((0, bands)) for _ in range(4))
    )
    return join_statistics([empty, *parts])


def join_statistics(several: Iterable[ClassStatistics]) -> ClassStatistics:
    """The cells of several rasters, one raster after another."""
    columns = zip(*(statistics.columns for statistics in several), strict=True)
    return ClassStatistics(*(np.concatenate(column) for column in columns))


def normalization_of(statistics: ClassStatistics) -> NormalizationSpec:
    """Mean and standard deviation per band over all labelled pixels; a flat band gets 1.

    Raises:
        LabelError: if no pixel is labelled.
    """
    count = int(statistics.counts.sum())
    if not count:
        raise LabelError("no training pixel is labelled: label values 255 and nodata do not count")
    mean = statistics.sums.sum(axis=0) / count
    std = np.sqrt(np.maximum(statistics.squares.sum(axis=0) / count - mean**2, 0))
    is_flat = (statistics.lowest.min(axis=0) == statistics.highest.max(axis=0)) | (
        std == 0
    )  # rounding leaves flat bands a std
    return NormalizationSpec(mean=_rounded(mean), std=_rounded(np.where(is_flat, 1.0, std)))


def cells_around(window: Window) -> Window:
    """The smallest window of whole cells around a window."""
    return _of_cells(
        window.row // CELL_PX,
        window.col // CELL_PX,
        -(-(window.row + window.height) // CELL_PX),
        -(-(window.col + window.width) // CELL_PX),
    )


def cells_within(window: Window) -> Window:
    """The window of the cells whose middles lie in a window."""
    edges = window.row, window.col, window.row + window.height, window.col + window.width
    return _of_cells(*((edge + CELL_PX // 2 - 1) // CELL_PX for edge in edges))


def _of_cells(top: int, left: int, bottom: int, right: int) -> Window:
    return Window(top * CELL_PX, left * CELL_PX, (bottom - top) * CELL_PX, (right - left) * CELL_PX)


def _windows(height: int, width: int) -> Iterator[Window]:
    for row in range(0, height, READ_PX):
        for col in range(0, width, READ_PX):
            yield Window(row, col, READ_PX, READ_PX).clip(height, width)


def _count(image: Values, labels: NDArray[np.uint8], window: Window, classes: int) -> ClassStatistics:
    cells = _by_cell(labels, IGNORE)
    held = (cells != IGNORE).any(axis=(2, 3))
    classes_of = cells[held].reshape(-1, CELL_PX**2)  # (N, pixels of a cell)
    known = classes_of != IGNORE
    numbers = np.nonzero(known)[0] * classes + classes_of[known]
    counts = np.bincount(numbers, minlength=len(known) * classes).reshape(-1, classes)
    values = [_values(_by_cell(band, 0)[held].reshape(known.shape), known) for band in image]
    sums, squares, lowest, highest = np.stack(values, axis=2)
    corners = np.argwhere(held) * CELL_PX + (window.row, window.col)
    return ClassStatistics(corners, counts, sums, squares, lowest, highest)


def _values(band: Values, counted: Mask) -> NDArray[np.float64]:
    """Sum, sum of squares, lowest and highest of the counted values (N, pixels of a cell) of each cell (4, N)."""
    kept = np.where(counted, band, 0).astype(np.float64)
    lowest, highest = (np.where(counted, band, outside) for outside in (np.inf, -np.inf))
    return np.stack([kept.sum(axis=1), np.einsum("np,np->n", kept, kept), lowest.min(axis=1), highest.max(axis=1)])


def _by_cell(values: NDArray[Any], fill: int) -> NDArray[Any]:
    """(H, W), filled up to whole cells, as rows of cells, columns of cells, rows, columns."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % CELL_PX), (0, -width % CELL_PX)), constant_values=fill)
    rows, cols = padded.shape
    return padded.reshape(rows // CELL_PX, CELL_PX, cols // CELL_PX, CELL_PX).swapaxes(1, 2)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
