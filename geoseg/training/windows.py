"""Training windows: drawn at random from labelled rasters.

In: labelled rasters and the cells in which their classes stand. Out: arrays of one window each, and batches of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.grid import Window
from geoseg.raster.scene import Values
from geoseg.spec import IGNORE

TrainBatch = tuple[Tensor, Tensor]
"""Images (B, C, R, R), uint8 or float32, and labels (B, R, R), uint8."""


@dataclass(frozen=True)
class Cells:
    """Places in several grounds that show something, to draw windows around."""

    places: NDArray[np.int64]
    """Number of the ground, first row and column (N, 3)."""
    counts: NDArray[np.int64]
    """Labelled pixels per class (N, K)."""


@dataclass(frozen=True)
class Sampling:
    """How training windows are drawn."""

    window: int
    """Side of a window, in pixels."""
    read_side: int
    """Side of the ground that is read for it, which turning and scaling may bring in."""
    per_epoch: int
    """Windows per epoch."""
    balance: float
    """Share of the windows drawn around an evenly drawn class."""
    seed: int
    """Seed of the draw."""


class TrainingWindows:
    """Random windows of labelled ground: image (C, R, R), uint8 or float32, and labels (R, R) uint8.

    Window i of an epoch depends on the seed, the epoch and i alone, whatever the processes and threads.
    """

    def __init__(self, grounds: Sequence[LabelledRaster], cells: Cells, sampling: Sampling, fill: Sequence[float]):
        self.grounds = grounds
        self.sampling = sampling
        self.fill = fill
        self.epoch = 0
        self._places = cells.places
        self._by_area = np.cumsum(cells.counts.sum(axis=1))
        self._by_class = [np.cumsum(column) for column in cells.counts.T if column.any()]

    def __len__(self) -> int:
        """Windows per epoch."""
        return self.sampling.per_epoch

    def __getitem__(self, index: int) -> tuple[Values, Indexes]:
        """Draw one window, and around it the ground that turning and scaling may bring in."""
        rng = np.random.default_rng((self.sampling.seed, self.epoch, index))
        ground, window = self.draw(rng)
        return cut(ground, window, self.fill)

    def draw(self, rng: np.random.Generator) -> tuple[LabelledRaster, Window]:
        """Draw a ground and the window to read, which may reach beyond it."""
        which, *cell = self._draw_cell(rng)
        ground, side = self.grounds[which], self.sampling.window
        # The cell lies anywhere in the window, so that the drawn class is not always in its middle.
        corner = [int(start - rng.integers(max(1, side - CELL_PX))) for start in cell]
        margin = (self.sampling.read_side - side) // 2
        lengths = ground.height, ground.width
        row, col = (keep_inside(start, side, length) - margin for start, length in zip(corner, lengths, strict=True))
        return ground, Window(row, col, self.sampling.read_side, self.sampling.read_side)

    def _draw_cell(self, rng: np.random.Generator) -> NDArray[np.int64]:
        sums = self._by_area
        if rng.random() < self.sampling.balance:
            sums = self._by_class[rng.integers(len(self._by_class))]
        cell: NDArray[np.int64] = self._places[np.searchsorted(sums, rng.integers(sums[-1]), side="right")]
        return cell


def keep_inside(start: int, side: int, length: int) -> int:
    """Shift a window along one axis so that it wastes no pixel, or shows all of a ground shorter than itself."""
    return min(max(start, min(0, length - side)), max(0, length - side))


def cut(ground: LabelledRaster, window: Window, fill: Sequence[float]) -> tuple[Values, Indexes]:
    """Read a window that may reach beyond the ground: image (C, h, w) of the ground's type, and labels (h, w).

    What lies outside and what holds no data is `fill` per band and IGNORE, as holes are when the model predicts.
    """
    inside = window.clip(ground.height, ground.width)
    values, valid = ground.read(inside)
    labels = ground.read_labels(inside)
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


def stack_training(items: Sequence[tuple[Values, Indexes]]) -> TrainBatch:
    """Make a batch of training windows; small types, so that little is moved."""
    images, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))
