"""Points drawn at random from strata, independently and uniformly on the earth's surface.

A pixel of a raster in degrees covers less land towards the poles, so rows are drawn by the area of their pixels in the
stratum, then a pixel of the row, then a position in the pixel. In: frames. Out: points with the area that each stands
for. A frame is read twice, some rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.data.sampling.frames import Frame


@dataclass(frozen=True)
class DrawnPoints:
    """P points."""

    frames: NDArray[np.int64]
    """Index of the frame of each (P,)."""
    strata: NDArray[np.int64]
    """Index of its stratum (P,)."""
    columns: NDArray[np.float64]
    rows: NDArray[np.float64]
    """Its position in pixels from the frame's upper left corner (P,)."""
    pixel_m2: NDArray[np.float64]
    """Area of the pixel that it lies in (P,)."""


def draw_points(
    frames: Sequence[Frame],
    measures: Sequence[NDArray[np.float64]],
    counts: NDArray[np.int64],
    seed: int,
    advance: Callable[[int], None],
) -> DrawnPoints:
    """Draw points, in random order.

    Args:
        frames: the rasters.
        measures: area of each row's pixels in each stratum (H, S), by frame.
        counts: number of points in each stratum (S,).
        seed: seed of the random numbers: equal ones give equal points.
        advance: called with the number of pixels that have been read.
    """
    rng = np.random.default_rng(seed)
    strata = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    begins = np.cumsum([0, *(len(one) for one in measures)])
    together = np.concatenate(measures)
    lines = np.empty(len(strata), np.int64)
    for stratum in range(len(counts)):
        is_in = strata == stratum
        sums = np.cumsum(together[:, stratum])
        drawn = np.searchsorted(sums, rng.random(int(is_in.sum())) * sums[-1], side="right")
        lines[is_in] = np.minimum(drawn, int(np.flatnonzero(together[:, stratum]).max(initial=0)))
    of_frame = np.searchsorted(begins, lines, side="right") - 1
    rows = lines - begins[of_frame]
    choices, right, down = rng.random((3, len(strata)))
    columns = np.empty(len(strata))
    for number, frame in enumerate(frames):
        own = np.flatnonzero(of_frame == number)
        columns[own] = _columns(frame, rows[own], strata[own], choices[own], advance)
    pixel_m2 = np.array([frames[f].row_areas_m2[row] for f, row in zip(of_frame, rows, strict=True)])
    return DrawnPoints(of_frame, strata, columns + right, rows + down, pixel_m2)


def _columns(
    frame: Frame,
    rows: NDArray[np.int64],
    strata: NDArray[np.int64],
    choices: NDArray[np.float64],
    advance: Callable[[int], None],
) -> NDArray[np.int64]:
    """A column (P,) of each row in which the pixel is of a stratum, chosen by a number from 0 to 1."""
    columns = np.zeros(len(rows), np.int64)
    for window, found in frame.strips():
        for index in np.flatnonzero((rows >= window.row) & (rows < window.row + window.height)):
            fitting = np.flatnonzero(found[rows[index] - window.row] == strata[index])
            columns[index] = fitting[int(choices[index] * len(fitting))]
        advance(window.pixels)
    return columns
