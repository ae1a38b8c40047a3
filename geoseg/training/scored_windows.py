"""The windows in which a model is scored: those of the grid in which it sees a scene.

In: labelled rasters, the cells in which their classes stand, and a grid over each. Out: arrays of one window each, and
batches of them, in which every labelled pixel counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Axis, Grid, Place, Window
from geoseg.inference.batches import read_padded
from geoseg.inference.views.coarse_classes import CoarseClasses
from geoseg.models.segmentation import Context
from geoseg.models.views import Views
from geoseg.raster.averaging import Weighted
from geoseg.raster.level_grid import ViewBox
from geoseg.raster.pyramid import ContextPyramid
from geoseg.spec import IGNORE
from geoseg.training.windows import Cells


@dataclass(frozen=True)
class ScoredWindow:
    """One window of a validation raster, as the network sees it when it predicts."""

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
    boxes: tuple[ViewBox, ...] = ()
    """Where the window lies in each view (4,)."""
    told: NDArray[np.float32] | None = None
    """Probabilities that a coarser view told around the window (K, h, w), if the network refines them; then the one box
    is where the window lies in them."""
    weights: NDArray[np.float32] | None = None
    """Share of its own answer where a network refines what was told (T, T), see `RefinedWindows`."""


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
    """The windows of grids over validation rasters, each labelled pixel scored in exactly one of them."""

    def __init__(
        self,
        rasters: Sequence[Mosaic],
        cells: Cells,
        grids: Sequence[Grid],
        fill: Sequence[float],
        pyramids: Sequence[ContextPyramid] = (),
    ):
        self.rasters = rasters
        self.grids = grids
        self.fill = fill
        self.pyramids = pyramids
        self.coarse: list[CoarseClasses] = []
        """What a coarser view told of each raster, if the network refines that; to be told before windows are read."""
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
        raster, window = self.rasters[which], place.window
        image, valid = read_padded(raster, window, self.fill)
        inside = window.clip(raster.height, raster.width)
        at = inside.shift(-window.row, -window.col).slices
        labels = np.full(valid.shape, IGNORE, np.uint8)
        labels[at] = np.where(valid[at], raster.read_labels(inside), IGNORE)
        counted = np.zeros(valid.shape, bool)
        counted[place.core.shift(-window.row, -window.col).slices] = True
        scored = ScoredWindow(image.astype(np.float32), labels, counted, valid)
        if self.coarse:
            return self._with_coarse(scored, self.coarse[which], place)
        views, boxes = self._context(which, window)
        return replace(scored, views=views, boxes=boxes)

    def _context(self, which: int, window: Window) -> tuple[tuple[Weighted, ...], tuple[ViewBox, ...]]:
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
        return replace(scored, told=maps[0], boxes=(boxes[0],), weights=coarse.refined.weights(place, place.window))

    def name_of(self, index: int) -> str:
        """What people call a window: the image in its middle, and its corner there."""
        which, place = self.places[index]
        raster, core = self.rasters[which], place.core
        member = raster.member_at(core.row + core.height // 2, core.col + core.width // 2)
        if member is None:
            return f"{raster.name}, row {core.row}, column {core.col}"
        corner = raster.places[member]
        row, col = max(0, core.row - corner.row), max(0, core.col - corner.col)
        return f"{raster.rasters[member].name}, row {row}, column {col}"

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


def _stack(arrays: Sequence[NDArray[Any] | ViewBox]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float()


def stack_uncounted(items: Sequence[ScoredWindow]) -> ScoredBatch:
    """Make a batch of scored windows of which no pixel counts."""
    batch = stack_scored(items)
    return batch._replace(counted=torch.zeros_like(batch.counted))
