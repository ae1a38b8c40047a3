"""Training windows with the coarser views that contain them.

In: labelled rasters, the cells that hold their labels, and the levels of a context or a refinement. Out: windows as
`random_windows.py` draws them, each with a view per level, rotated and scaled like the window, and the majority class
of each context pixel. The window lies anywhere in the core of the view, as it does when the model predicts.

Rotation and scale are drawn here and not on the device, because they decide which pixels a view needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Window
from geoseg.models.surroundings import Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.raster.averaging import Weighted
from geoseg.raster.pyramid import ContextPyramid
from geoseg.raster.validity import Values
from geoseg.spec import IGNORE, AugmentSpec, ContextLevel
from geoseg.training.windows.augment import Augment, draw_matrices
from geoseg.training.windows.random_windows import LabelledCells, Sampling, TrainingWindows, split_marked
from geoseg.training.windows.view_resampling import ResampledView, ViewCut, majority

MOST_AVERAGED_PX = 2**27
"""Pixels of rasters that are averaged to see how much of the views holds data: some seconds."""


@dataclass(frozen=True)
class ViewWindow:
    """A training window, and the views that contain it."""

    image: Values
    """Band values (C, R, R)."""
    labels: Indexes
    """Class indexes (R, R)."""
    matrix: NDArray[np.float32]
    """Affine matrix (2, 3) from the window to what was read, see `draw_matrices`; views are resampled already."""
    views: tuple[ResampledView, ...]
    """Level by level."""


class ViewBatch(NamedTuple):
    """Training windows as read, and the views that contain them."""

    image: Tensor
    """Band values (B, C, R, R), uint8 or float32."""
    labels: Tensor
    """Class indexes (B, R, R), uint8; IGNORE or UNLABELLED where nothing is labelled."""
    matrices: Tensor
    """Affine matrices (B, 2, 3) from the windows to what was read."""
    views: Views
    """The views of each level."""
    view_labels: tuple[Tensor, ...]
    """Per level: class indexes of the view's pixels (B, n, n), uint8."""

    def augmented(self, augment: Augment, side: int, generator: torch.Generator) -> LabelledWindows:
        """Resample the windows to `side` pixels, and recolour them and their views alike."""
        with torch.autocast(self.image.device.type, enabled=False):  # colours keep their precision
            image, marked, views, plain = augment.with_views(
                self.image, self.labels, self.matrices, self.views.images, side, generator
            )
        labels, unlabelled = split_marked(marked)
        return LabelledWindows(image, labels, Views(views, self.views.boxes), self.view_labels, unlabelled, plain)


class ViewWindows(TrainingWindows):
    """Random windows of labelled rasters, each with its views.

    Views show training pixels only: validation pixels are nodata in them.
    """

    def __init__(
        self,
        rasters: Sequence[Mosaic],
        cells: LabelledCells,
        sampling: Sampling,
        fill: Sequence[float],
        levels: Sequence[ContextLevel],
        augment: AugmentSpec,
        folder: Path | None = None,
    ):
        super().__init__(rasters, cells, sampling, fill)
        self._augment = augment
        classes = cells.counts.shape[1]
        self._surroundings = {id(raster): _Surroundings(raster, levels, classes, folder) for raster in rasters}

    def __getitem__(self, index: int) -> ViewWindow:  # type: ignore[override]  # its batches are others as well
        """Draw one window, its rotation and scale, and its position in its views."""
        raster, window, matrix, rng = self._draw_turned(self.epoch, index)
        image, labels = self.read(raster, window)
        views = self._surroundings[id(raster)].views(window, self.sampling.window, matrix, rng)
        return ViewWindow(image, labels, matrix, views)

    def data_in_views(self, count: int) -> tuple[float, ...]:
        """Per level: the mean share of the views' pixels that hold data, around some of the first `count` windows.

        These windows lie in the rasters that are drawn first, of which no more than `MOST_AVERAGED_PX` are averaged.
        """
        shares, left, seen = list[tuple[float, ...]](), MOST_AVERAGED_PX, set[int]()
        for index in range(count):
            raster, window, matrix, rng = self._draw_turned(0, index)
            left -= 0 if id(raster) in seen else raster.height * raster.width
            seen.add(id(raster))
            if left < 0 and shares:
                break
            shares.append(self._surroundings[id(raster)].data(window, self.sampling.window, matrix, rng))
        return tuple(np.mean(shares, axis=0).tolist())

    def _draw_turned(
        self, epoch: int, index: int
    ) -> tuple[LabelledRaster, Window, NDArray[np.float32], np.random.Generator]:
        """A raster, the window to read, its matrix, and what draws its place in its views."""
        rng = np.random.default_rng((self.sampling.seed, epoch, index))
        raster, window = self.draw(rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        matrix = draw_matrices(self._augment, 1, self.sampling.window / self.sampling.read_side, generator)[0].numpy()
        return raster, window, matrix, rng


class _Surroundings:
    """The levels of one raster, with their labels; both are computed at first use."""

    def __init__(self, raster: Mosaic, levels: Sequence[ContextLevel], classes: int, folder: Path | None):
        self._raster, self._classes = raster, classes
        self._pyramid = ContextPyramid(raster.open_part(), levels, folder=folder)
        self._labels = cache(self._majority)

    def views(
        self, window: Window, side: int, matrix: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[ResampledView, ...]:
        """Resample the view of every level.

        Args:
            window: pixels that were read, with the training window in their middle.
            side: side of the training window.
            matrix: affine matrix from the training window to what was read.
            rng: draws the position of the window in the core.
        """
        cuts = self._cuts(window, side, matrix, rng)
        return tuple(cut.resample(*self._read(number, cut.part)) for number, cut in enumerate(cuts))

    def data(
        self, window: Window, side: int, matrix: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[float, ...]:
        """Per level: the share of the same view's pixels that hold data."""
        cuts = self._cuts(window, side, matrix, rng)
        return tuple(cut.data(self._pyramid.read(number, cut.part)) for number, cut in enumerate(cuts))

    def _cuts(self, window: Window, side: int, matrix: NDArray[np.float32], rng: np.random.Generator) -> list[ViewCut]:
        turn = matrix[:, :2].astype(np.float64) * window.height / side  # rotated axes -> raster, x before y
        places = ((grid, rng.uniform(-0.5, 0.5, 2) * grid.level.core_px) for grid in self._pyramid.grids)
        return [ViewCut.of(grid, window, side, turn, place) for grid, place in places]

    def _read(self, level: int, part: Window) -> tuple[Weighted, Indexes]:
        grid = self._pyramid.grids[level]
        inside = part.clip(grid.rows, grid.cols)
        labels = np.full((part.height, part.width), IGNORE, np.uint8)
        labels[inside.shift(-part.row, -part.col).slices] = self._labels(level)[inside.slices]
        return self._pyramid.read(level, part), labels

    def _majority(self, level: int) -> Indexes:
        return majority(self._raster, self._pyramid.grids[level], self._classes)


def stack_view_windows(items: Sequence[ViewWindow]) -> ViewBatch:
    """Make a batch of training windows and their views."""
    levels = list(zip(*(item.views for item in items), strict=True))
    return ViewBatch(
        _stack([item.image for item in items]),
        _stack([item.labels for item in items]),
        _stack([item.matrix for item in items]),
        Views(
            tuple(_stack([view.image for view in level]) for level in levels),
            tuple(_stack([np.array(view.box, np.float32) for view in level]) for level in levels),
        ),
        tuple(_stack([view.labels for view in level]) for level in levels),
    )


def _stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
