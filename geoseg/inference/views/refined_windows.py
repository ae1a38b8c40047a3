"""Which windows of a finer view are worth forwarding, where a coarser one has been classified.

In: probabilities of the coarser view, and the windows of the finer one. Out: the windows in which the coarser one is
unsure, and the share that their answers have of each pixel. Knows no network.
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

Shares = NDArray[np.uint8]
"""Probabilities (K, h, w) in 255ths; all are 0 where nothing is known."""
FADE = 8
"""A window fades out towards a skipped one across its side over this."""


@dataclass(frozen=True)
class RefinedWindows:
    """Which windows of a grid the network sees, and how these hand over to those left to a coarser view.

    Two answers, one from near by and one from afar, would meet in a straight line. So the finer one fades out towards
    the skipped windows: classes change where the two balance, and that follows the ground.
    """

    grid: Grid
    """The windows."""
    skipped: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the windows that are left to the coarser view."""

    def weights(self, place: Place, window: Window) -> NDArray[np.float32]:
        """Share of the finer answer in a place's window, or in a part of it (h, w); 0 all over a skipped one.

        In windows that the network sees it depends on where a pixel lies alone: they agree where they overlap.
        """
        is_seen = (place.i, place.j) not in self.skipped
        weights = np.full((window.height, window.width), is_seen, np.float32)
        if is_seen:
            for i, j in product(*(range(at - 1, at + 2) for at in (place.i, place.j))):
                if (i, j) in self.skipped:
                    self._fade(weights, i, j, window)
        return weights

    def _fade(self, weights: NDArray[np.float32], i: int, j: int, window: Window) -> None:
        """Lower the weights of a window (h, w) in another one's territory, which is skipped, and near it."""
        top, left = window.row + self.grid.border, window.col + self.grid.border
        down = _distances(self.grid.rows, i, top, window.height) / self._fade_px
        right = _distances(self.grid.cols, j, left, window.width) / self._fade_px
        near = np.ix_(down < 1, right < 1)
        weights[near] = np.minimum(weights[near], np.hypot(down[down < 1][:, None], right[right < 1]))

    @cached_property
    def _fade_px(self) -> int:
        """Pixels across which a window fades out: at most half of its territory, so that it counts in the middle."""
        lengths = (last - first for axis in (self.grid.rows, self.grid.cols) for first, last in _territories(axis))
        return max(1, min(self.grid.tile // FADE, min(lengths) // 2))


def _territories(axis: Axis) -> list[tuple[int, int]]:
    """First and last-plus-one pixel of each window's territory: they meet in the middles of the seams."""
    borders = [0, *(seam + axis.ramp // 2 for seam in axis.seams), axis.end]
    return list(pairwise(borders))


def _distances(axis: Axis, i: int, start: int, length: int) -> NDArray[np.float32]:
    """Pixels from each of some positions to the territory of window i."""
    first, last = _territories(axis)[i]
    positions = np.arange(start, start + length)
    return np.maximum(np.maximum(first - positions, positions - last + 1), 0).astype(np.float32)


Uncertainties = dict[tuple[int, int], float]
"""Mean uncertainty of windows that hold data, by row and column in their grid."""


def mean_uncertainties(probabilities: WindowStore, ratio: int, grid: Grid, places: Iterable[Place]) -> Uncertainties:
    """How unsure a coarser view is, on average, of what windows of a grid decide."""
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
    """The windows of each of some grids to skip: all but that share of them, taken together, that is the least sure.

    MagNet-Fast (Huynh et al. 2021, section 3.4) refines the patches of the highest mean uncertainty.
    """
    ranked = sorted(
        (-uncertainty, which, where) for which, of in enumerate(uncertainties) for where, uncertainty in of.items()
    )
    skipped = ranked[math.ceil(fraction * len(ranked) - 1e-9) :]
    return [frozenset(where for _, of, where in skipped if of == which) for which in range(len(uncertainties))]


def _uncertainty(shares: Shares) -> NDArray[np.float64]:
    """1 less the margin between the two most likely classes (h, w)."""
    second, best = np.partition(shares, -2, axis=0)[-2:].astype(np.int64)
    unsure: NDArray[np.float64] = 1 - (best - second) / 255
    return unsure
