"""Units drawn without replacement with probabilities in proportion to their sizes: systematic sampling (Madow 1949).

In: sizes of units. Out: which are drawn, and the probability with which each would be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw_units(
    sizes: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Indexes of up to `count` of N units, and the inclusion probability of all (N,).

    A unit so large that its probability would exceed 1 is drawn for certain; those of size 0 are never drawn.
    """
    probabilities = inclusion(sizes, count)
    order = rng.permutation(len(sizes))
    ends = np.cumsum(probabilities[order])
    steps = np.floor(np.round(ends, 9) - rng.random())
    return order[np.diff(steps, prepend=-1.0) > 0], probabilities


def inclusion(sizes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Inclusion probabilities (N,) in proportion to sizes, at most 1, that sum to `count` or to the number of units."""
    exists = sizes > 0
    certain = np.zeros(len(sizes), bool)
    if count >= exists.sum():
        return exists.astype(np.float64)
    while True:
        rest = np.where(certain, 0.0, sizes)
        found = np.where(certain, 1.0, rest / rest.sum() * (count - certain.sum()))
        if not (more := ~certain & (found >= 1)).any():
            return found
        certain |= more
