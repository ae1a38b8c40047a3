"""Points drawn at random from strata, at most one in each pixel, uniformly on the earth's surface.

A pixel of a raster in degrees covers less land towards the poles, so pixels are drawn with probabilities in proportion
to their areas: first how many of each row and stratum, then which of these, then a position in each. Points are thus
spread evenly over the rows of a stratum, and the variance of an estimate is at most about that of independent points.
In: frames. Out: points with the area that each stands for. A frame is read twice, some rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.data.sampling.frames import Frame
from geoseg.data.sampling.units import draw_from_groups


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
    inclusion: NDArray[np.float64]
    """Probability with which the pixel that it lies in is drawn (P,), at most 1."""
    area_m2: NDArray[np.float64]
    """Area that it stands for (P,): that of its pixel over this probability; a stratum's sum to its area."""


def draw_points(
    frames: Sequence[Frame],
    pixels: Sequence[NDArray[np.int64]],
    counts: NDArray[np.int64],
    seed: int,
    advance: Callable[[int], None],
) -> DrawnPoints:
    """Draw points, in random order.

    Args:
        frames: the rasters.
        pixels: pixels of each row and stratum (H, S), by frame.
        counts: number of points in each stratum (S,), at most that of its pixels.
        seed: seed of the random numbers: equal ones give equal points.
        advance: called with the number of pixels that have been read.
    """
    rng = np.random.default_rng(seed)
    begins = np.cumsum([0, *(len(one) for one in pixels)])
    together, pixel_m2 = np.concatenate(pixels), np.concatenate([frame.row_areas_m2 for frame in frames])
    drawn, probabilities = np.zeros(together.shape, np.int64), np.zeros(together.shape)
    for stratum, count in enumerate(counts.tolist()):
        found = draw_from_groups(pixel_m2, together[:, stratum], count, rng)
        drawn[:, stratum], probabilities[:, stratum] = found
    lines, strata = (np.repeat(index, drawn[drawn > 0]) for index in np.nonzero(drawn))
    columns = [
        _columns(frame, drawn[first : first + frame.grid.height], rng, advance)
        for frame, first in zip(frames, begins[:-1], strict=True)
    ]
    order = rng.permutation(len(lines))
    lines, strata = lines[order], strata[order]
    of_frame = np.searchsorted(begins, lines, side="right") - 1
    right, down = rng.random((2, len(lines)))
    inclusion = probabilities[lines, strata]
    return DrawnPoints(
        frames=of_frame,
        strata=strata,
        columns=np.concatenate(columns)[order] + right,
        rows=lines - begins[of_frame] + down,
        inclusion=inclusion,
        area_m2=pixel_m2[lines] / inclusion,
    )


def _columns(
    frame: Frame, drawn: NDArray[np.int64], rng: np.random.Generator, advance: Callable[[int], None]
) -> NDArray[np.int64]:
    """Columns of the pixels that are drawn of a frame (P,), as many of each row and stratum as `drawn` (H, S) says."""
    columns: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for window, found in frame.strips():
        for row, stratum in zip(*np.nonzero(drawn[window.row : window.row + window.height]), strict=True):
            fitting = np.flatnonzero(found[row] == stratum)
            columns.append(rng.choice(fitting, int(drawn[window.row + row, stratum]), replace=False))
        advance(window.pixels)
    return np.concatenate(columns)
