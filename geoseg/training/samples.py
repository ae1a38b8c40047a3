"""Labelled ground -> what a training loop eats.

In: ground and the cells in which its classes stand. Out: data sets of arrays: random windows to train on, the windows
of a grid to score on; and batches of them, read ahead of the network by a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.queues import read_ahead
from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Axis, Grid, Place, Window
from geoseg.inference.batches import read_padded
from geoseg.inference.views.probability_map import CoarseClasses
from geoseg.models.context import Views
from geoseg.models.segmentation import Context
from geoseg.raster.pyramid import Box, ContextPyramid, Weighted
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


@dataclass(frozen=True)
class ScoredWindow:
    """One window of validation ground, as the network sees it when it predicts."""

    image: NDArray[np.float32]
    """Band values (C, T, T), reflected beyond the edge, filled where there is no data."""
    labels: Indexes
    """Class indexes (T, T)."""
    counted: NDArray[np.bool_]
    """Pixels (T, T) that are scored with this window; the others are scored with its neighbours."""
    valid: NDArray[np.bool_]
    """Pixels (T, T) that hold data."""
    views: tuple[Weighted, ...] = ()
    """What each level of the context shows (C + 1, n, n), if the network sees one."""
    boxes: tuple[Box, ...] = ()
    """Where the window lies in each view (4,)."""
    told: NDArray[np.float32] | None = None
    """Probabilities that a coarser view told around the window (K, h, w), if the network refines them; then the one box
    is where the window lies in them."""
    weights: NDArray[np.float32] | None = None
    """Share of its own answer where a network refines what was told (T, T), see `coarse.Choice`."""


class ScoredBatch(NamedTuple):
    """Scored windows of one shape."""

    image: Tensor
    """Band values (B, C, T, T)."""
    labels: Tensor
    """Class indexes (B, T, T)."""
    counted: Tensor
    """Which pixels count (B, T, T)."""
    context: Views | Context | None
    """What the levels of the context show, if the network sees one; or what a coarser view told, if it refines that."""
    weights: Tensor | None
    """Share of its own answer where a network refines what was told (B, T, T)."""


class ScoredWindows:
    """The windows of a grid over validation ground, each labelled pixel scored in exactly one of them."""

    def __init__(
        self,
        grounds: Sequence[Mosaic],
        cells: Cells,
        grids: Sequence[Grid],
        fill: Sequence[float],
        pyramids: Sequence[ContextPyramid] = (),
    ):
        self.grounds = grounds
        self.grids = grids
        self.fill = fill
        self.pyramids = pyramids
        self.coarse: list[CoarseClasses] = []
        """What a coarser view told of each ground, if the network refines that; to be told before windows are read."""
        self.places = [
            (which, place)
            for which, grid in enumerate(grids)
            for place in _labelled_places(grid, cells.places[cells.places[:, 0] == which, 1:])
        ]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.places)

    def __getitem__(self, index: int) -> ScoredWindow:
        """Read one window."""
        which, place = self.places[index]
        ground, window = self.grounds[which], place.window
        image, valid = read_padded(ground, window, self.fill)
        inside = window.clip(ground.height, ground.width)
        at = inside.shift(-window.row, -window.col).slices
        labels = np.full(valid.shape, IGNORE, np.uint8)
        labels[at] = np.where(valid[at], ground.read_labels(inside), IGNORE)
        counted = np.zeros(valid.shape, bool)
        counted[place.core.shift(-window.row, -window.col).slices] = True
        scored = ScoredWindow(image.astype(np.float32), labels, counted, valid)
        if self.coarse:
            return self._with_coarse(scored, self.coarse[which], place)
        views, boxes = self._context(which, window)
        return replace(scored, views=views, boxes=boxes)

    def _context(self, which: int, window: Window) -> tuple[tuple[Weighted, ...], tuple[Box, ...]]:
        """What is seen around a window when the model predicts."""
        if not self.pyramids:
            return (), ()
        pyramid = self.pyramids[which]
        views = [pyramid.view(level, window) for level in range(len(pyramid.grids))]
        return (
            tuple(pyramid.read(level, view) for level, view in enumerate(views)),
            tuple(pyramid.box(level, window, view) for level, view in enumerate(views)),
        )

    def _with_coarse(self, scored: ScoredWindow, coarse: CoarseClasses, place: Place) -> ScoredWindow:
        """Add what a coarser view told."""
        maps, boxes = coarse.around([place.window])
        return replace(scored, told=maps[0], boxes=(boxes[0],), weights=coarse.choice.weights(place, place.window))

    def name_of(self, index: int) -> str:
        """What people call a window: the image in its middle, and its corner there."""
        which, place = self.places[index]
        ground, core = self.grounds[which], place.core
        member = ground.member_at(core.row + core.height // 2, core.col + core.width // 2)
        if member is None:
            return f"{ground.name}, row {core.row}, column {core.col}"
        corner = ground.places[member]
        row, col = max(0, core.row - corner.row), max(0, core.col - corner.col)
        return f"{ground.rasters[member].name}, row {row}, column {col}"

    def batches(self, size: int) -> list[list[int]]:
        """Numbers of the windows of each batch; those of one batch have one shape."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, (_, place) in enumerate(self.places):
            by_shape.setdefault((place.window.height, place.window.width), []).append(index)
        return [group[i : i + size] for group in by_shape.values() for i in range(0, len(group), size)]


def _labelled_places(grid: Grid, cells: NDArray[np.int64]) -> Iterator[Place]:
    """Places whose core meets a cell with labels."""
    top, bottom = _cores_met(grid.rows, cells[:, 0] + grid.border)
    left, right = _cores_met(grid.cols, cells[:, 1] + grid.border)
    # Each cell meets a rectangle of cores: four corners whose running sums count the cells of every core.
    met = np.zeros((grid.rows.count + 1, grid.cols.count + 1), np.int64)
    for i, j, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(met, (i, j), sign)
    met = met.cumsum(axis=0).cumsum(axis=1)
    return (place for place in grid.places() if place.core.pixels and met[place.i, place.j])


def _cores_met(axis: Axis, cells: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last-plus-one core that each cell meets along an axis."""
    starts, ends = np.array([axis.core(i) for i in range(axis.count)]).T
    return np.searchsorted(ends, cells, side="right"), np.searchsorted(starts, cells + CELL_PX, side="left")


def stack_training(items: Sequence[tuple[Values, Indexes]]) -> TrainBatch:
    """Make a batch of training windows; small types, so that little is moved."""
    images, labels = zip(*items, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def stack_scored(items: Sequence[ScoredWindow]) -> ScoredBatch:
    """Make a batch of scored windows."""
    images, labels, counted = zip(*((item.image, item.labels, item.counted) for item in items), strict=True)
    weights = [item.weights for item in items if item.weights is not None]
    return ScoredBatch(
        torch.from_numpy(np.stack(images)),
        torch.from_numpy(np.stack(labels)).long(),
        torch.from_numpy(np.stack(counted)),
        _stack_context(items),
        _stack(weights) if weights else None,
    )


def _stack_context(items: Sequence[ScoredWindow]) -> Views | Context | None:
    boxes = tuple(_stack(level) for level in zip(*(item.boxes for item in items), strict=True))
    told = [item.told for item in items if item.told is not None]
    if told:
        return Context((_stack(told),), boxes)
    views = tuple(_stack(level) for level in zip(*(item.views for item in items), strict=True))
    return Views(views, boxes) if views else None


def _stack(arrays: Sequence[NDArray[Any]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float()


def stack_uncounted(items: Sequence[ScoredWindow]) -> ScoredBatch:
    """Make a batch of scored windows of which no pixel counts."""
    batch = stack_scored(items)
    return batch._replace(counted=torch.zeros_like(batch.counted))


class Loader:
    """Batches of a data set, read by a thread while the network is busy."""

    def __init__(self, items: Any, batches: Sequence[Sequence[int]], stack: Callable[[list[Any]], Any]):
        self.items = items
        self.batches = batches
        self.stack = stack

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Read batch after batch."""
        yield from read_ahead(self.stack([self.items[i] for i in batch]) for batch in self.batches)

    def split(self, process: int, processes: int) -> Loader:
        """What one of several processes loads if they share every batch."""
        return Loader(self.items, [batch[process::processes] for batch in self.batches], self.stack)

    def deal(self, process: int, processes: int, *, idle: Callable[[list[Any]], Any]) -> Loader:
        """What one of several processes loads if each takes whole batches.

        Where there are fewer batches than processes, the others load the first one with `idle`: all must have work to
        do, or those that have would wait for them.
        """
        batches = self.batches[process::processes]
        return Loader(self.items, batches, self.stack) if batches else Loader(self.items, self.batches[:1], idle)
