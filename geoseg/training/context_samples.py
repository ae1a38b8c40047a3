"""Training windows with the ground around them.

In: labelled ground, the cells in which its classes stand, and the levels of a context or a refinement. Out: windows
as `samples.py` draws them, each with the views in which it lies somewhere in the core, as it does when the model
predicts; turned and scaled like the window itself; and the class that most of each context pixel shows.

Geometry is drawn here and not on the device, because it decides which ground a view shows. With G the matrix that leads
from the turned world to the ground, c the window's middle and d where in the core it shall lie, the view's middle is
c - G d, moved to the nearest corner of context pixels: quarter turns then resample nothing.
"""

from __future__ import annotations

import math
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
from geoseg.data.labels.labels import Indexes
from geoseg.data.mosaic import Mosaic
from geoseg.geo.grid import Window
from geoseg.models.context import Views
from geoseg.raster.pyramid import Box, ContextPyramid, LevelGrid, Weighted
from geoseg.raster.scene import Values
from geoseg.spec import IGNORE, AugmentSpec, ContextLevel
from geoseg.training.augment import draw_matrices, move
from geoseg.training.samples import Cells, Sampling, TrainingWindows, cut

STRIP_PX = 512
"""Height of the strips in which labels are counted."""


@dataclass(frozen=True)
class View:
    """What one level shows around one training window."""

    image: Weighted
    """Band values and the share of each pixel that holds data (C + 1, n, n)."""
    labels: Indexes
    """The class index that most of each context pixel shows (n, n)."""
    box: Box
    """Where the window lies in it, once it is cut (4,)."""


@dataclass(frozen=True)
class ContextWindow:
    """A training window, and the ground around it."""

    image: Values
    """Band values (C, R, R)."""
    labels: Indexes
    """Class indexes (R, R)."""
    matrix: NDArray[np.float32]
    """How the window is cut out of what was read (2, 3), see `augment.draw_matrices`; the views are cut already."""
    views: tuple[View, ...]
    """Level by level."""


class ContextBatch(NamedTuple):
    """Training windows with the ground around them."""

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


class ContextWindows(TrainingWindows):
    """Random windows of labelled ground, each with its views.

    Views show training ground only: what is kept for scoring is to them as if it held no data.
    """

    def __init__(
        self,
        grounds: Sequence[Mosaic],
        cells: Cells,
        sampling: Sampling,
        fill: Sequence[float],
        levels: Sequence[ContextLevel],
        augment: AugmentSpec,
        folder: Path | None = None,
    ):
        super().__init__(grounds, cells, sampling, fill)
        self._augment = augment
        classes = cells.counts.shape[1]
        self._surroundings = {id(ground): _Surroundings(ground, levels, classes, folder) for ground in grounds}

    def __getitem__(self, index: int) -> ContextWindow:  # type: ignore[override]  # its batches are others as well
        """Draw one window, how it is turned and scaled, and where it lies in its views."""
        rng = np.random.default_rng((self.sampling.seed, self.epoch, index))
        ground, window = self.draw(rng)
        image, labels = cut(ground, window, self.fill)
        generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
        matrix = draw_matrices(self._augment, 1, self.sampling.window / self.sampling.read_side, generator)[0].numpy()
        views = self._surroundings[id(ground)].views(window, self.sampling.window, matrix, rng)
        return ContextWindow(image, labels, matrix, views)


class _Surroundings:
    """The levels over one ground, with their labels; both are made when they are first asked for."""

    def __init__(self, ground: Mosaic, levels: Sequence[ContextLevel], classes: int, folder: Path | None):
        self._ground, self._classes = ground, classes
        self._pyramid = ContextPyramid(ground.open_part(), levels, folder=folder)
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
        turn = matrix[:, :2].astype(np.float64) * window.height / side  # turned world -> ground, x before y
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
        return majority(self._ground, self._pyramid.grids[level], self._classes)


@dataclass(frozen=True)
class ViewCut:
    """How a turned view is cut out of a level's raster."""

    part: Window
    """Context pixels that must be read."""
    matrix: NDArray[np.float64]
    """View -> part (2, 2), both from -1 to 1, x before y."""
    size: int
    """Side of the view."""
    box: Box
    """Where the training window lies in the view."""

    @classmethod
    def of(
        cls, grid: LevelGrid, window: Window, side: int, turn: NDArray[np.float64], place: NDArray[np.float64]
    ) -> ViewCut:
        """Lay a view about a training window.

        Args:
            grid: the level.
            window: ground whose middle is the training window's.
            side: side of the training window, in its own pixels.
            turn: G (2, 2).
            place: d (2,), in context pixels; of no meaning for the whole scene.
        """
        size = grid.level.size
        ratio = np.array(grid.ratio[::-1])
        middle = np.array([window.col + window.width / 2, window.row + window.height / 2]) / ratio
        if grid.level.ratio == "scene":
            whole = grid.view(window)
            centre = np.array([whole.col, whole.row]) + size // 2
        else:
            centre = np.rint(middle - turn @ place).astype(int)
        reach = math.ceil(size / 2 * np.abs(turn).sum(axis=1).max() - 1e-4)
        part = Window(int(centre[1]) - reach, int(centre[0]) - reach, 2 * reach, 2 * reach)
        # A quarter turn swaps the height and the width of context pixels, which differ a little over a whole scene.
        half = side / 2 / ((turn**2 / (turn**2).sum(axis=0)).T @ ratio)
        offset = np.linalg.solve(turn, middle - centre)
        box = np.concatenate([offset - half, offset + half]) / size + 0.5
        return cls(part, turn * size / (2 * reach), size, box)

    def cut(self, image: Weighted, labels: Indexes) -> View:
        """Turn and scale what was read: values bilinearly, over what holds data; labels by the nearest pixel."""
        weighted = image.copy()
        weighted[:-1] *= image[-1]
        theta = torch.from_numpy(np.pad(self.matrix, ((0, 0), (0, 1))).astype(np.float32))[None]
        moved, ids = move(
            torch.from_numpy(weighted)[None],
            torch.from_numpy(labels)[None],
            theta,
            self.size,
            torch.zeros(len(weighted)),
        )
        values = moved[0].numpy()
        held = values[-1] > 1e-3
        values[:-1] = np.where(held, values[:-1] / np.where(held, values[-1], 1), 0)
        values[-1] *= held
        return View(values, ids[0].numpy().astype(np.uint8), self.box)


def majority(ground: LabelledRaster, grid: LevelGrid, classes: int) -> Indexes:
    """The class index that most labelled pixels of each context pixel show (rows, cols); IGNORE where there is none."""
    found = np.full((grid.rows, grid.cols), IGNORE, np.uint8)
    cols = _coarse(np.arange(grid.width), grid.ratio[1], grid.cols)
    height = max(1, int(STRIP_PX / grid.ratio[0]))
    rows = _coarse(np.arange(grid.height), grid.ratio[0], grid.rows)
    for first in range(0, grid.rows, height):
        last = min(first + height, grid.rows)
        start, stop = np.searchsorted(rows, [first, last])
        labels = ground.read_labels(Window(int(start), 0, int(stop - start), grid.width))
        places = (rows[start:stop, None] - first) * grid.cols + cols
        known = labels < classes
        counts = np.bincount(places[known] * classes + labels[known], minlength=(last - first) * grid.cols * classes)
        counts = counts.reshape(last - first, grid.cols, classes)
        found[first:last] = np.where(counts.any(axis=2), counts.argmax(axis=2), IGNORE)
    return found


def _coarse(pixels: NDArray[np.int64], ratio: float, count: int) -> NDArray[np.int64]:
    """Context pixel in which the middles of pixels lie."""
    return np.minimum(((pixels + 0.5) / ratio).astype(np.int64), count - 1)


def stack_context(items: Sequence[ContextWindow]) -> ContextBatch:
    """Make a batch of training windows and their views."""
    levels = list(zip(*(item.views for item in items), strict=True))
    return ContextBatch(
        _stack([item.image for item in items]),
        _stack([item.labels for item in items]),
        _stack([item.matrix for item in items]),
        Views(
            tuple(_stack([view.image for view in level]) for level in levels),
            tuple(_stack([view.box.astype(np.float32) for view in level]) for level in levels),
        ),
        tuple(_stack([view.labels for view in level]) for level in levels),
    )


def _stack(arrays: Sequence[NDArray[np.generic]]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
