"""Class statistics of labelled rasters, cell by cell.

In: a labelled raster, read once, window by window. Out: for every square cell with labels, its pixels per class and the
sums of its band values. Normalization, sampling and splits are computed from these without reading the raster again.
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
"""Side of a cell in pixels: small enough to find windows of a class, large enough for all cells to fit into memory."""
READ_PX = 1024
"""Side of the windows that are read in pixels, a multiple of CELL_PX."""
NOT_REPORTED = Stage(SILENT, "reading", 0)
"""A stage that reports to nobody."""


@dataclass(frozen=True)
class ClassStatistics:
    """Pixels per class and sums of band values, for the N cells of a raster that have labelled pixels with data."""

    cells: NDArray[np.int64]
    """Row and column of the first pixel of each cell (N, 2)."""
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
    partial: NDArray[np.int64]
    """Pixels with data per cell whose label is a set of classes (N,): in `sums` to `highest`, not in `counts`."""

    @property
    def centres(self) -> NDArray[np.int64]:
        """Row and column of the centre of each cell (N, 2), which may lie beyond the edge of the raster."""
        return self.cells + CELL_PX // 2

    def inside(self, windows: Iterable[Window]) -> Mask:
        """Which cells (N,) lie in one of several windows, each made of whole cells up to the edge of the raster."""
        places = self.cells // CELL_PX
        held = np.zeros(places.max(axis=0, initial=0) + 1, bool)
        for window in filter(attrgetter("pixels"), windows):
            rows, cols = (slice(s.start // CELL_PX, -(-s.stop // CELL_PX)) for s in window.slices)
            held[rows, cols] = True
        inside: Mask = held[places[:, 0], places[:, 1]]
        return inside

    def only(self, chosen: Mask) -> ClassStatistics:
        """The statistics of the cells where a mask (N,) is true."""
        return ClassStatistics(*(column[chosen] for column in self.columns))

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The fields in their order, each with one row per cell."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Pixels per class (K,)."""
        totals: NDArray[np.int64] = self.counts.sum(axis=0)
        return totals


def count_classes(raster: LabelledRaster, classes: int, bands: int, stage: Stage = NOT_REPORTED) -> ClassStatistics:
    """Count the pixels per class of a raster, in one pass.

    Args:
        raster: the labelled raster.
        classes: number of classes, K.
        bands: number of bands, C.
        stage: advances by the pixels of each window that was read.

    Raises:
        LabelError: if the labels are damaged, or hold a value that is no class.
        SceneError: if the image is damaged.
    """
    parts = []
    for window in read_windows(raster.height, raster.width):
        labels = raster.read_labels(window)
        if (labels != IGNORE).any():
            image, valid = raster.read(window)
            labels[~valid] = IGNORE
            parts.append(_count(image, labels, window, classes))
        stage.advance(window.pixels)
    return join_statistics([no_statistics(classes, bands), *parts])


def count_own(raster: LabelledRaster, stage: Stage = NOT_REPORTED) -> ClassStatistics:
    """Count the pixels of a raster that hold data and are on its side, labelled or not, as of one class; of no band.

    Raises:
        SceneError: if the image is damaged.
    """
    parts = [no_statistics(classes=1, bands=0)]
    for window in read_windows(raster.height, raster.width):
        held = _by_cell(raster.own(window), 0).sum(axis=(2, 3))
        corners = np.argwhere(held) * CELL_PX + (window.row, window.col)
        nothing = np.zeros((len(corners), 0))
        none = np.zeros(len(corners), np.int64)
        parts.append(ClassStatistics(corners, held[held > 0].reshape(-1, 1), nothing, nothing, nothing, nothing, none))
        stage.advance(window.pixels)
    return join_statistics(parts)


def count_some(raster: LabelledRaster, most: int) -> ClassStatistics:
    """Count the pixels with data of evenly spread windows, `most` at most, labelled or not, as of one class.

    Raises:
        SceneError: if the image is damaged.
    """
    windows = list(read_windows(raster.height, raster.width))
    parts = []
    for window in windows[:: -(-len(windows) // most)]:
        image, valid = raster.read(window)
        parts.append(_count(image, np.where(valid, np.uint8(0), np.uint8(IGNORE)), window, classes=1))
    return join_statistics(parts)


def no_statistics(classes: int, bands: int) -> ClassStatistics:
    """The statistics of a raster without labels, for K classes and C bands."""
    nothing = np.zeros((0, bands))
    none = np.zeros(0, np.int64)
    return ClassStatistics(np.zeros((0, 2), int), np.zeros((0, classes), int), nothing, nothing, nothing, nothing, none)


def join_statistics(several: Iterable[ClassStatistics]) -> ClassStatistics:
    """Concatenate the cells of several rasters."""
    columns = zip(*(statistics.columns for statistics in several), strict=True)
    return ClassStatistics(*(np.concatenate(column) for column in columns))


def normalization_of(statistics: ClassStatistics) -> NormalizationSpec:
    """Mean and standard deviation per band over all labelled pixels; the deviation of a constant band is 1.

    Raises:
        LabelError: if no pixel is labelled.
    """
    count = int(statistics.counts.sum() + statistics.partial.sum())
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
    """The window of the cells whose centres lie in a window."""
    edges = window.row, window.col, window.row + window.height, window.col + window.width
    return _of_cells(*((edge + CELL_PX // 2 - 1) // CELL_PX for edge in edges))


def _of_cells(top: int, left: int, bottom: int, right: int) -> Window:
    return Window(top * CELL_PX, left * CELL_PX, (bottom - top) * CELL_PX, (right - left) * CELL_PX)


def read_windows(height: int, width: int) -> Iterator[Window]:
    """The windows of a raster that are read, one after the other."""
    for row in range(0, height, READ_PX):
        for col in range(0, width, READ_PX):
            yield Window(row, col, READ_PX, READ_PX).clip(height, width)


def _count(image: Values, labels: NDArray[np.uint8], window: Window, classes: int) -> ClassStatistics:
    cells = _by_cell(labels, IGNORE)
    held = (cells != IGNORE).any(axis=(2, 3))
    classes_of = cells[held].reshape(-1, CELL_PX**2)  # (N, pixels of a cell)
    known = classes_of != IGNORE
    is_class = classes_of < classes
    numbers = np.nonzero(is_class)[0] * classes + classes_of[is_class]
    counts = np.bincount(numbers, minlength=len(known) * classes).reshape(-1, classes)
    values = [_values(_by_cell(band, 0)[held].reshape(known.shape), known) for band in image]
    sums, squares, lowest, highest = np.stack(values, axis=2)
    corners = np.argwhere(held) * CELL_PX + (window.row, window.col)
    return ClassStatistics(corners, counts, sums, squares, lowest, highest, (known & ~is_class).sum(axis=1))


def _values(band: Values, counted: Mask) -> NDArray[np.float64]:
    """Sum, sum of squares, lowest and highest of the counted values (N, pixels of a cell) of each cell (4, N)."""
    kept = np.where(counted, band, 0).astype(np.float64)
    lowest, highest = (np.where(counted, band, outside) for outside in (np.inf, -np.inf))
    return np.stack([kept.sum(axis=1), np.einsum("np,np->n", kept, kept), lowest.min(axis=1), highest.max(axis=1)])


def _by_cell(values: NDArray[Any], fill: int) -> NDArray[Any]:
    """Values (H, W), padded to whole cells, as an array (rows of cells, columns of cells, CELL_PX, CELL_PX)."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % CELL_PX), (0, -width % CELL_PX)), constant_values=fill)
    rows, cols = padded.shape
    return padded.reshape(rows // CELL_PX, CELL_PX, cols // CELL_PX, CELL_PX).swapaxes(1, 2)


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
