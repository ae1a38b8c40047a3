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
    probabilities = inclusion(sizes, np.ones(len(sizes), np.int64), count)
    order, drawn = _systematic(probabilities, rng)
    return order[drawn > 0], probabilities


def draw_from_groups(
    sizes: NDArray[np.float64], numbers: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many units of each of G groups are drawn (G,), and the inclusion probability of a unit of each (G,).

    Units of a group have the same size, and each of them is as likely as the others to be among those that are drawn
    from it. The number that is drawn is the expected one, rounded up or down.

    Args:
        sizes: size of a unit of each group (G,).
        numbers: number of units in each (G,).
        count: number of units to draw in all; all are drawn if there are fewer.
        rng: random numbers.
    """
    probabilities = inclusion(sizes, numbers, count)
    order, drawn = _systematic(probabilities * numbers, rng)
    found = np.zeros(len(sizes), np.int64)
    found[order] = drawn
    return found, probabilities


def inclusion(sizes: NDArray[np.float64], numbers: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Inclusion probabilities (G,) of units of G groups, in proportion to their sizes and at most 1.

    Those of all units sum to `count`, or to the number of units if that is less.
    """
    exists = (sizes > 0) & (numbers > 0)
    certain = np.zeros(len(sizes), bool)
    if count >= numbers[exists].sum():
        return exists.astype(np.float64)
    while True:
        rest = np.where(certain | ~exists, 0.0, sizes)
        found = np.where(certain, 1.0, rest / (rest * numbers).sum() * (count - numbers[certain].sum()))
        if not (more := ~certain & (found >= 1)).any():
            return found
        certain |= more


def _systematic(expected: NDArray[np.float64], rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """A random order (G,), and how many are drawn of each group in that order (G,): the expected number, rounded."""
    order = rng.permutation(len(expected))
    ends = np.cumsum(expected[order])
    steps = np.floor(np.round(ends, 9) - rng.random())
    return order, np.diff(steps, prepend=-1.0).astype(np.int64)
