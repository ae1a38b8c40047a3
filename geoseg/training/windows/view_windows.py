"""Training windows with the coarser views in which they lie.

In: labelled rasters, the cells in which their classes stand, and the levels of a context or a refinement. Out: windows
as `windows.py` draws them, each with the views in which it lies somewhere in the core, as it does when the model
predicts; turned and scaled like the window itself; and the class that most of each context pixel shows.

Geometry is drawn here and not on the device, because it decides what a view shows.
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
from geoseg.training.windows.random_windows import LabelledCells, Sampling, TrainingWindows, cut
from geoseg.training.windows.view_resampling import View, ViewCut, majority


@dataclass(frozen=True)
class ViewWindow:
    """A training window, and the views in which it lies."""

    image: Values
    """Band values (C, R, R)."""
    labels: Indexes
    """Class indexes (R, R)."""
    matrix: NDArray[np.float32]
    """How the window is cut out of what was read (2, 3), see `augment.draw_matrices`; the views are cut already."""
    views: tuple[View, ...]
    """Level by level."""


class ViewBatch(NamedTuple):
    """Training windows as they were read, and the views in which they lie."""

    image: Tensor
    """Band values (B, C, R, R), uint8 or float32."""
    labels: Tensor
    """Class indexes (B, R, R), uint8."""
    matrices: Tensor
    """How the windows are cut out of what was read (B, 2, 3)."""
    views: Views
    """What the levels show."""
    view_labels: tuple[Tensor, ...]
    """Class indexes of their pixels (B, n, n), uint8."""

    def varied(self, augment: Augment, side: int, generator: torch.Generator) -> LabelledWindows:
        """Cut the windows to `side` pixels as it was drawn, and recolour them and their views alike."""
        with torch.autocast(self.image.device.type, enabled=False):  # colours keep their precision
            image, labels, views = augment.with_views(
                self.image, self.labels, self.matrices, self.views.images, side, generator
            )
        return LabelledWindows(image, labels, Views(views, self.views.boxes), self.view_labels)


class ViewWindows(TrainingWindows):
    """Random windows of labelled raster, each with its views.

    Views show training pixels only: what is kept for scoring is to them as if it held no data.
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
        """Draw one window, how it is turned and scaled, and where it lies in its views."""
        rng = np.random.default_rng((self.sampling.seed, self.epoch, index))
        raster, window = self.draw(rng)
        image, labels = cut(raster, window, self.fill)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        matrix = draw_matrices(self._augment, 1, self.sampling.window / self.sampling.read_side, generator)[0].numpy()
        views = self._surroundings[id(raster)].views(window, self.sampling.window, matrix, rng)
        return ViewWindow(image, labels, matrix, views)


class _Surroundings:
    """The levels over one raster, with their labels; both are made when they are first asked for."""

    def __init__(self, raster: Mosaic, levels: Sequence[ContextLevel], classes: int, folder: Path | None):
        self._raster, self._classes = raster, classes
        self._pyramid = ContextPyramid(raster.open_part(), levels, folder=folder)
        self._labels = cache(self._majority)

    def views(
        self, window: Window, side: int, matrix: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[View, ...]:
        """Cut the view of every level.

        Args:
            window: what was read around the training window's middle.
            side: side of the training window.
            matrix: how the training window is cut out of what was read.
            rng: draws where in the core it lies.
        """
        turn = matrix[:, :2].astype(np.float64) * window.height / side  # turned world -> raster, x before y
        views = []
        for number, grid in enumerate(self._pyramid.grids):
            place = rng.uniform(-0.5, 0.5, 2) * grid.level.core_px
            cut_out = ViewCut.of(grid, window, side, turn, place)
            image, labels = self._read(number, cut_out.part)
            views.append(cut_out.cut(image, labels))
        return tuple(views)

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
