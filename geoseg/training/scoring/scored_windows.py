"""The windows in which a model is scored, on the same grid as in a prediction.

In: labelled rasters, the cells that hold their labels, and a grid over each. Out: arrays of one window each, and the
indexes of batches; every labelled pixel is scored once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labels import Indexes
from geoseg.geo.grid import Axis, Grid, Place, Window
from geoseg.inference.batches import read_padded
from geoseg.raster.readable import Readable
from geoseg.spec import IGNORE, ModelSpec
from geoseg.training.scoring.scored_batch import ScoredWindow
from geoseg.training.scoring.scored_views import SCORED_VIEWS, ScoredInputs
from geoseg.training.windows.random_windows import LabelledCells


class ScoredRaster(Readable, Protocol):
    """A labelled raster as the scored model sees it."""

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window inside; IGNORE where nothing is labelled."""
        ...

    def window_name(self, window: Window) -> str:
        """Name of a window for people."""
        ...


class ScoredWindows:
    """The windows of grids over validation rasters, each labelled pixel scored in exactly one of them."""

    def __init__(
        self,
        rasters: Sequence[ScoredRaster],
        cells: LabelledCells,
        grids: Sequence[Grid],
        model: ModelSpec,
        folder: Path | None = None,
        *,
        with_seams: bool = False,
    ):
        """Find the windows that hold labels.

        Args:
            rasters: validation rasters.
            cells: the cells that hold their labels.
            grids: the grid of windows over each.
            model: the spec of the scored model.
            folder: for scratch files of views; None keeps all in memory.
            with_seams: also those whose seams alone hold labels: they are blended with the windows that count these.
        """
        self.rasters = rasters
        self.grids = grids
        self.fill = model.normalization.mean
        self.places = [
            (which, place)
            for which, grid in enumerate(grids)
            for place in _labelled_places(grid, cells.places[cells.places[:, 0] == which, 1:], with_seams)
        ]
        self.view = SCORED_VIEWS.get(model.branch.kind)(ScoredInputs(rasters, grids, self.places, model, folder))
        """The views of surroundings; to be prepared before any window is read."""

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
        return ScoredWindow(image.astype(np.float32), labels, counted, valid, self.view.surroundings(which, place))

    def name_of(self, index: int) -> str:
        """Name of a window for people: the image at its centre, and its row and column there."""
        which, place = self.places[index]
        return self.rasters[which].window_name(place.core)

    def batches(self, size: int) -> list[list[int]]:
        """Indexes of the windows of each batch of at most `size`; windows of one batch have one shape."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index in range(len(self)):
            by_shape.setdefault(self._shape(index), []).append(index)
        return [group[i : i + size] for group in by_shape.values() for i in range(0, len(group), size)]

    def batches_in_order(self, size: int) -> list[list[int]]:
        """The same with the windows of each raster in the order of its grid, as they are blended.

        Rasters of one size follow each other: of small ones, each a window, a batch holds several.
        """
        order = sorted(range(len(self)), key=lambda index: self._size_of_raster(self.places[index][0]))
        runs = [list(run) for _, run in groupby(order, key=self._shape)]
        return [run[i : i + size] for run in runs for i in range(0, len(run), size)]

    def _shape(self, index: int) -> tuple[int, int]:
        window = self.places[index][1].window
        return window.height, window.width

    def _size_of_raster(self, which: int) -> tuple[int, int, int]:
        grid = self.grids[which]
        return grid.height, grid.width, which


def _labelled_places(grid: Grid, cells: NDArray[np.int64], with_seams: bool) -> Iterator[Place]:
    """Places whose core, or with their seams whose part of the grid, intersects a cell with labels."""
    top, bottom = _met(grid.rows, cells[:, 0] + grid.border, with_seams)
    left, right = _met(grid.cols, cells[:, 1] + grid.border, with_seams)
    # Each cell intersects a rectangle of places: cumulative sums of its four corners count the cells of every place.
    met = np.zeros((grid.rows.count + 1, grid.cols.count + 1), np.int64)
    for i, j, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(met, (i, j), sign)
    met = met.cumsum(axis=0).cumsum(axis=1)
    return (place for place in grid.places() if (with_seams or place.core.pixels) and met[place.i, place.j])


def _met(axis: Axis, cells: NDArray[np.int64], with_seams: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last-plus-one core, or window's reach with its seams, that each cell intersects along an axis."""
    starts, ends = np.array([axis.reach(i) if with_seams else axis.core(i) for i in range(axis.count)]).T
    return np.searchsorted(ends, cells, side="right"), np.searchsorted(starts, cells + CELL_PX, side="left")
