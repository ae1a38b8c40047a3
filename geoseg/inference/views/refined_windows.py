"""Choice of the windows of a finer view to forward where a coarser one has been classified.

In: probabilities of the coarser view, and the windows of the finer one. Out: the windows in which the coarser one is
unsure, and the weight of the network's probabilities in each pixel. Knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Axis, Grid, Place, Window
from geoseg.raster.window_store import WindowStore

ByteProbabilities = NDArray[np.uint8]
"""Probabilities (K, h, w) in 255ths; all are 0 where there is no data."""
FADE = 8
"""A window fades out towards a skipped neighbour across 1 / FADE of its side."""


@dataclass(frozen=True)
class RefinedWindows:
    """The windows of a grid that are forwarded, and weights that blend them into those left to a coarser view.

    Probabilities of a finer and of a coarser view would meet in a straight line. So the finer ones fade out towards
    the skipped windows: classes change where the two balance, which depends on the imagery.
    """

    grid: Grid
    """The windows."""
    skipped: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the windows that are left to the coarser view."""

    def weights(self, place: Place, window: Window) -> NDArray[np.float32]:
        """Weights (h, w) of the finer probabilities in a place's window, or in a part of it; all 0 in a skipped one.

        In forwarded windows a weight depends on the pixel's position alone, so overlapping windows agree.
        """
        is_seen = (place.i, place.j) not in self.skipped
        weights = np.full((window.height, window.width), is_seen, np.float32)
        if is_seen:
            for i, j in product(*(range(at - 1, at + 2) for at in (place.i, place.j))):
                if (i, j) in self.skipped:
                    self._fade(weights, i, j, window)
        return weights

    def _fade(self, weights: NDArray[np.float32], i: int, j: int, window: Window) -> None:
        """Lower the weights (h, w) of a window in and near the territory of the skipped window (i, j)."""
        top, left = window.row + self.grid.border, window.col + self.grid.border
        down = _distances(self.grid.rows, i, top, window.height) / self._fade_px
        right = _distances(self.grid.cols, j, left, window.width) / self._fade_px
        near = np.ix_(down < 1, right < 1)
        weights[near] = np.minimum(weights[near], np.hypot(down[down < 1][:, None], right[right < 1]))

    @cached_property
    def _fade_px(self) -> int:
        """Pixels across which a window fades out: at most half of its territory, so that its middle has weight 1."""
        lengths = (last - first for axis in (self.grid.rows, self.grid.cols) for first, last in _territories(axis))
        return max(1, min(self.grid.tile // FADE, min(lengths) // 2))


def _territories(axis: Axis) -> list[tuple[int, int]]:
    """First and last-plus-one pixel of each window's territory; territories meet in the middles of the seams."""
    borders = [0, *(seam + axis.ramp // 2 for seam in axis.seams), axis.end]
    return list(pairwise(borders))


def _distances(axis: Axis, i: int, start: int, length: int) -> NDArray[np.float32]:
    """Distance in pixels from each of `length` positions to the territory of window i."""
    first, last = _territories(axis)[i]
    positions = np.arange(start, start + length)
    return np.maximum(np.maximum(first - positions, positions - last + 1), 0).astype(np.float32)


Uncertainties = dict[tuple[int, int], float]
"""Mean uncertainty of windows that hold data, by row and column in their grid."""


def mean_uncertainties(probabilities: WindowStore, ratio: int, grid: Grid, places: Iterable[Place]) -> Uncertainties:
    """Mean uncertainty of a coarser view in the cores of some windows of a grid, 0 to 1."""
    uncertainties = {}
    for place in places:
        rows, cols = grid.inside(place)
        top, left = (place.window.row + rows.start) // ratio, (place.window.col + cols.start) // ratio
        bottom, right = -(-(place.window.row + rows.stop) // ratio), -(-(place.window.col + cols.stop) // ratio)
        part = Window(top, left, bottom - top, right - left).clip(probabilities.height, probabilities.width)
        shares = probabilities.read(part)
        known = shares.any(axis=0)
        if known.any():
            uncertainties[place.i, place.j] = float(_uncertainty(shares)[known].mean())
    return uncertainties


def most_certain(uncertainties: Sequence[Uncertainties], fraction: float) -> list[frozenset[tuple[int, int]]]:
    """Windows to skip in each of several grids: all but the least sure `fraction` of them, taken together.

    MagNet-Fast (Huynh et al. 2021, section 3.4) refines the patches of the highest mean uncertainty.
    """
    ranked = sorted(
        (-uncertainty, which, where) for which, of in enumerate(uncertainties) for where, uncertainty in of.items()
    )
    skipped = ranked[math.ceil(fraction * len(ranked) - 1e-9) :]
    return [frozenset(where for _, of, where in skipped if of == which) for which in range(len(uncertainties))]


def _uncertainty(shares: ByteProbabilities) -> NDArray[np.float64]:
    """1 minus the margin between the two most likely classes (h, w)."""
    second, best = np.partition(shares, -2, axis=0)[-2:].astype(np.int64)
    unsure: NDArray[np.float64] = 1 - (best - second) / 255
    return unsure
