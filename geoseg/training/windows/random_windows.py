"""Training windows, drawn at random from labelled rasters.

In: labelled rasters, and the cells that hold their labels. Out: arrays of one window each, and batches of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.events import Reporter
from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.grid import Window
from geoseg.models.training_batch import LabelledWindows
from geoseg.raster.validity import Values
from geoseg.spec import IGNORE
from geoseg.training.windows.augment import Augment, draw_matrices

UNLABELLED = 254
"""Class index, in windows as read, of pixels of the training side that hold data but no label. No class has it: 254
classes have indexes up to 253."""


@dataclass(frozen=True)
class LabelledCells:
    """Cells of several rasters that hold labels, about which windows are drawn."""

    places: NDArray[np.int64]
    """Number of the raster, first row and column (N, 3)."""
    counts: NDArray[np.int64]
    """Labelled pixels per class (N, K)."""
    unlabelled: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), np.int64))
    """Cells of rasters without labels: number of the raster, first row and column, and pixels with data (M, 4)."""
    partial: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Pixels whose label is a set of classes (N,); empty where there are none."""

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Labelled pixels (N,), of a class or of a set of classes."""
        pixels: NDArray[np.int64] = self.counts.sum(axis=1)
        return pixels + self.partial if len(self.partial) else pixels

    def joined_by(self, unlabelled: LabelledCells, first: int) -> LabelledCells:
        """The same with those of rasters without labels, whose pixels count as one class, numbered from `first`."""
        places = unlabelled.places + np.array([first, 0, 0])
        return replace(self, unlabelled=np.hstack([places, unlabelled.counts.sum(axis=1, keepdims=True)]))


@dataclass(frozen=True)
class Sampling:
    """How training windows are drawn."""

    window: int
    """Side of a window, in pixels."""
    read_side: int
    """Side of what is read for it, in pixels: with margins for rotation and scaling."""
    per_epoch: int
    """Windows per epoch."""
    balance: float
    """Share of the windows drawn about a cell of a class, all classes being equally likely."""
    seed: int
    """Seed of the draw."""
    marks_unlabelled: bool = False
    """Whether pixels that hold data but no label are UNLABELLED and not IGNORE."""
    unlabelled: float = 0.0
    """Share of the windows drawn from rasters without labels, uniformly by area, if there are any."""


class TrainingWindows:
    """Random windows of labelled rasters: image (C, R, R), uint8 or float32, and labels (R, R) uint8.

    Window i of an epoch depends on the seed, the epoch and i alone, not on processes and threads.
    """

    def __init__(
        self, rasters: Sequence[LabelledRaster], cells: LabelledCells, sampling: Sampling, fill: Sequence[float]
    ):
        self.rasters = rasters
        self.sampling = sampling
        self.fill = fill
        self.epoch = 0
        self._places = cells.places
        self._by_area = np.cumsum(cells.pixels)
        self._by_class = [np.cumsum(column) for column in cells.counts.T if column.any()]
        self._unlabelled, self._by_data = cells.unlabelled[:, :3], np.cumsum(cells.unlabelled[:, 3])

    def __len__(self) -> int:
        """Windows per epoch."""
        return self.sampling.per_epoch

    def prepare(self, reporter: Reporter) -> None:
        """Compute what all epochs share, before the first one: nothing, as each draws its own windows."""

    def __getitem__(self, index: int) -> tuple[Values, Indexes]:
        """Draw one window, with the margins for rotation and scaling."""
        rng = np.random.default_rng((self.sampling.seed, self.epoch, index))
        raster, window = self.draw(rng)
        return self.read(raster, window)

    def data_in_views(self, count: int) -> tuple[float, ...]:
        """Per level of their views: the share of pixels that hold data, around `count` windows; they have no views."""
        return ()

    def read(self, raster: LabelledRaster, window: Window) -> tuple[Values, Indexes]:
        """Read a window that may extend beyond a raster; see `read_filled` and `mark_unlabelled`."""
        image, labels = read_filled(raster, window, self.fill)
        return image, mark_unlabelled(raster, window, labels) if self.sampling.marks_unlabelled else labels

    def draw(self, rng: np.random.Generator) -> tuple[LabelledRaster, Window]:
        """Draw a raster and the window to read, which may extend beyond it."""
        which, *cell = self._draw_cell(rng)
        raster, side = self.rasters[which], self.sampling.window
        # The cell lies anywhere in the window, so that the drawn class is not always in its middle.
        corner = [int(start - rng.integers(max(1, side - CELL_PX))) for start in cell]
        margin = (self.sampling.read_side - side) // 2
        lengths = raster.height, raster.width
        row, col = (keep_inside(start, side, length) - margin for start, length in zip(corner, lengths, strict=True))
        return raster, Window(row, col, self.sampling.read_side, self.sampling.read_side)

    def _draw_cell(self, rng: np.random.Generator) -> NDArray[np.int64]:
        if len(self._unlabelled) and rng.random() < self.sampling.unlabelled:
            return _drawn(self._unlabelled, self._by_data, rng)
        sums = self._by_area
        if rng.random() < self.sampling.balance and self._by_class:
            sums = self._by_class[rng.integers(len(self._by_class))]
        return _drawn(self._places, sums, rng)


def _drawn(places: NDArray[np.int64], sums: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """One of several cells (N, 3), as likely as the running sums of their pixels (N) say."""
    cell: NDArray[np.int64] = places[np.searchsorted(sums, rng.integers(sums[-1]), side="right")]
    return cell


def keep_inside(start: int, side: int, length: int) -> int:
    """Shift a window along one axis into the raster, or so that it contains a raster shorter than itself."""
    return min(max(start, min(0, length - side)), max(0, length - side))


def read_filled(raster: LabelledRaster, window: Window, fill: Sequence[float]) -> tuple[Values, Indexes]:
    """Read a window that may extend beyond the raster: image (C, h, w) of the raster's type, and labels (h, w).

    Pixels outside and nodata pixels are `fill` per band and IGNORE, as nodata is when the model predicts.
    """
    inside = window.clip(raster.height, raster.width)
    values, valid = raster.read(inside)
    labels = raster.read_labels(inside)
    stand_in = np.reshape(fill if values.dtype.kind == "f" else np.rint(fill), (-1, 1, 1)).astype(values.dtype)
    if not valid.all():
        values, labels = np.where(valid, values, stand_in), np.where(valid, labels, IGNORE)
    if inside == window:
        return values, labels
    at = inside.shift(-window.row, -window.col).slices
    image = np.broadcast_to(stand_in, (len(fill), window.height, window.width)).copy()
    ids = np.full((window.height, window.width), IGNORE, np.uint8)
    image[:, *at], ids[at] = values, labels
    return image, ids


def mark_unlabelled(raster: LabelledRaster, window: Window, labels: Indexes) -> Indexes:
    """Labels (h, w) of a window, UNLABELLED where its side of the split holds data but no label."""
    inside = window.clip(raster.height, raster.width)
    valid = np.zeros(labels.shape, bool)
    valid[inside.shift(-window.row, -window.col).slices] = raster.own(inside)
    return np.where(valid & (labels == IGNORE), np.uint8(UNLABELLED), labels)


def split_marked(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Class indexes, IGNORE where nothing is labelled, and which of these pixels hold data; all of one shape."""
    unlabelled = labels == UNLABELLED
    return labels.masked_fill(unlabelled, IGNORE), unlabelled


class WindowBatch(NamedTuple):
    """Training windows as read, in small types, so that little is copied to the device."""

    image: Tensor
    """Band values (B, C, R, R), uint8 or float32."""
    labels: Tensor
    """Class indexes (B, R, R), uint8; IGNORE or UNLABELLED where nothing is labelled."""

    def augmented(self, augment: Augment, side: int, generator: torch.Generator) -> LabelledWindows:
        """Rotate, mirror, scale and recolour the windows, and crop them to `side` pixels."""
        with torch.autocast(self.image.device.type, enabled=False):  # colours keep their precision
            matrices = draw_matrices(augment.spec, len(self.image), side / self.image.shape[-1], generator)
            image, marked, _, plain = augment.with_views(self.image, self.labels, matrices, (), side, generator)
        labels, unlabelled = split_marked(marked)
        return LabelledWindows(image, labels, unlabelled=unlabelled, plain=plain)


def stack_windows(items: Sequence[tuple[Values, Indexes]]) -> WindowBatch:
    """Make a batch of training windows."""
    images, labels = zip(*items, strict=True)
    return WindowBatch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)))
