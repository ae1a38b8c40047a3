"""A coarser view, resampled from a level's raster with the rotation and scale of its training window.

In: a level, a window, and the window's rotation and scale. Out: the view, and the majority class of each of its pixels.

With G the matrix from the rotated axes to the raster, c the window's centre and d its position in the core, the view's
centre is c - G d, moved to the nearest corner of context pixels: rotations by 90° then need no interpolation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.grid import Window
from geoseg.raster.averaging import Weighted
from geoseg.raster.level_grid import LevelGrid, ViewBox
from geoseg.spec import IGNORE
from geoseg.training.windows.resampling import resample

LABEL_STRIP_PX = 512
"""Height of the strips in which labels are counted."""

SAMPLED_SIDE = 32
"""Points along each side of a view at which it is tested for data."""


@dataclass(frozen=True)
class ResampledView:
    """The view of one level that contains a training window."""

    image: Weighted
    """Band values and the share of each pixel that holds data (C + 1, n, n)."""
    labels: Indexes
    """The majority class index of each context pixel (n, n)."""
    box: ViewBox
    """Box of the window in it (4,)."""


@dataclass(frozen=True)
class ViewCut:
    """How a rotated view is resampled from a level's raster."""

    part: Window
    """Context pixels that must be read."""
    matrix: NDArray[np.float64]
    """View -> part (2, 2), both from -1 to 1, x before y."""
    size: int
    """Side of the view."""
    box: ViewBox
    """Box of the training window in the view."""

    @classmethod
    def of(
        cls, grid: LevelGrid, window: Window, side: int, turn: NDArray[np.float64], place: NDArray[np.float64]
    ) -> ViewCut:
        """Place a view over a training window.

        Args:
            grid: the level.
            window: pixels of the raster, centred on the training window.
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
        return cls(part, turn * size / (2 * reach), size, ViewBox(*box))

    def data(self, image: Weighted) -> float:
        """Share of the view that holds data, from what was read, at `SAMPLED_SIDE` × `SAMPLED_SIDE` of its points."""
        steps = (np.arange(SAMPLED_SIDE) + 0.5) / SAMPLED_SIDE * 2 - 1
        points = np.stack(np.meshgrid(steps, steps)).reshape(2, -1)
        cols, rows = np.clip(((self.matrix @ points + 1) / 2 * self.part.height).astype(int), 0, self.part.height - 1)
        return float(image[-1, rows, cols].mean())

    def resample(self, image: Weighted, labels: Indexes) -> ResampledView:
        """Resample what was read: values bilinearly, over pixels that hold data; labels by the nearest pixel."""
        weighted = image.copy()
        weighted[:-1] *= image[-1]
        theta = torch.from_numpy(np.pad(self.matrix, ((0, 0), (0, 1))).astype(np.float32))[None]
        moved, ids = resample(
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
        return ResampledView(values, ids[0].numpy().astype(np.uint8), self.box)


def majority(raster: LabelledRaster, grid: LevelGrid, classes: int) -> Indexes:
    """The majority class index of the labelled pixels in each context pixel (rows, cols); IGNORE where none."""
    found = np.full((grid.rows, grid.cols), IGNORE, np.uint8)
    cols = _coarse(np.arange(grid.width), grid.ratio[1], grid.cols)
    height = max(1, int(LABEL_STRIP_PX / grid.ratio[0]))
    rows = _coarse(np.arange(grid.height), grid.ratio[0], grid.rows)
    for first in range(0, grid.rows, height):
        last = min(first + height, grid.rows)
        start, stop = np.searchsorted(rows, [first, last])
        labels = raster.read_labels(Window(int(start), 0, int(stop - start), grid.width))
        places = (rows[start:stop, None] - first) * grid.cols + cols
        known = labels < classes
        counts = np.bincount(places[known] * classes + labels[known], minlength=(last - first) * grid.cols * classes)
        counts = counts.reshape(last - first, grid.cols, classes)
        found[first:last] = np.where(counts.any(axis=2), counts.argmax(axis=2), IGNORE)
    return found


def _coarse(pixels: NDArray[np.int64], ratio: float, count: int) -> NDArray[np.int64]:
    """Index of the context pixel that contains the centre of each pixel."""
    return np.minimum(((pixels + 0.5) / ratio).astype(np.int64), count - 1)
