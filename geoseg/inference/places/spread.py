"""The choice of windows that are uncertain, and unlike each other in their classes and their place.

Labels of fifty windows that look alike are worth little more than those of one, so windows are chosen one after the
other by the farthest-first traversal (Gonzalez 1985), which Sener and Savarese (2018) use for batches in active
learning, k-center greedy on core-sets, weighted by uncertainty: the next window is that with the largest

    uncertainty(i) * distance(i),
    distance(i) = min over chosen and labelled windows j of (apart(i, j) + unlike(i, j)) / 2

apart(i, j) is the distance of the centres over the reach, at most 1; the reach is the distance of neighbours if the
chosen windows were spread evenly. unlike(i, j) is half the sum of the absolute differences of the predicted shares of
the classes (their total variation): 0 where both show the same mixture, 1 where they share no class. While nothing is
chosen or labelled, the distance is 1. So each window is a good choice after those before it, no random number is drawn,
and of equals the first in the order of scenes, rows and columns is taken.

In: uncertainties, class shares and positions of windows. Out: indexes of the chosen ones, in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """The N windows of all scenes."""

    uncertainty: NDArray[np.float64]
    """Mean uncertainty of each (N,), 0 to 1."""
    shares: NDArray[np.float64]
    """Predicted share of each class (N, K), 0 to 1."""
    positions: NDArray[np.float64]
    """Centres (N, 3), in metres from the centre of the earth."""
    areas_m2: NDArray[np.float64]
    """Area of each (N,)."""
    is_open: NDArray[np.bool_]
    """Which may be chosen (N,)."""
    is_labelled: NDArray[np.bool_]
    """Which are labelled already (N,), so that windows unlike these are preferred."""


def spread(candidates: Candidates, count: int) -> list[int]:
    """Indexes of up to `count` windows, the first choice first; fewer where no more may be chosen."""
    is_open = candidates.is_open.copy()
    reach = math.sqrt(float(candidates.areas_m2[is_open].sum()) / max(1, count)) or 1.0
    distance = np.ones(len(is_open))
    for index in np.flatnonzero(candidates.is_labelled):
        distance = np.minimum(distance, _distances(candidates, int(index), reach))
    return list(_chosen(candidates, is_open, distance, reach, count))


def _chosen(
    candidates: Candidates, is_open: NDArray[np.bool_], distance: NDArray[np.float64], reach: float, count: int
) -> Iterator[int]:
    for _ in range(min(count, int(is_open.sum()))):
        index = int(np.argmax(np.where(is_open, candidates.uncertainty * distance, -1.0)))
        yield index
        is_open[index] = False
        distance = np.minimum(distance, _distances(candidates, index, reach))


def _distances(candidates: Candidates, index: int, reach: float) -> NDArray[np.float64]:
    """Distance of all windows (N,) from one of them, 0 to 1."""
    away = np.linalg.norm(candidates.positions - candidates.positions[index], axis=1)
    unlike = np.abs(candidates.shares - candidates.shares[index]).sum(axis=1) / 2
    return np.asarray((np.minimum(1.0, away / reach) + unlike) / 2)
