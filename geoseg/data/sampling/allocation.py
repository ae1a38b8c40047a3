"""Allocation of a sample to strata (Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of
land change", 5.1.1).

In: the areas of the strata. Out: the number of sampled places in each.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SpecError

Allocation = Literal["proportional", "equal"]


def allocate(
    areas: NDArray[np.float64], available: NDArray[np.int64], count: int, how: Allocation, least: int
) -> NDArray[np.int64]:
    """Number of places in each stratum (S,), `count` in all, at least `least` in each that has an area.

    What is left beyond the minimum is shared in proportion to the areas, or equally, and rounded by largest remainders:
    rare classes get enough places for an accuracy of their own, and large ones most of the rest. A stratum with fewer
    units than its share, or than the minimum, gets a place in each of them, and the others share the rest by the same
    rule; if all have fewer, the places are as many as the units.

    Args:
        areas: areas of the strata (S,); those of 0 get no place.
        available: number of units, pixels or windows, in each (S,), of which each can be drawn once.
        count: number of places.
        how: the rule of the shares.
        least: the minimum.

    Raises:
        SpecError: if the minimum of all strata together is more than the count.
    """
    most = np.where(areas > 0, available, 0)
    lower = np.minimum(least, most)
    if lower.sum() > count:
        raise SpecError(
            f"{int((most > 0).sum())} strata with up to {least} places each are more than {count}: raise count, or "
            f"lower min_per_class to {count // int((most > 0).sum())}"
        )
    if most.sum() <= count:
        return np.asarray(most, np.int64)
    weights = np.where(most > 0, areas / areas.sum() if how == "proportional" else 1.0, 0.0)
    return _rounded(_shares(weights, lower, most, count), count)


def _shares(
    weights: NDArray[np.float64], lower: NDArray[np.int64], upper: NDArray[np.int64], count: int
) -> NDArray[np.float64]:
    """Shares (S,) in proportion to weights, but within bounds, that sum to a count between the sums of the bounds."""
    bounds = np.concatenate([lower, upper]) / np.maximum(np.tile(weights, 2), 1e-300)
    factors = np.unique(np.append(0.0, bounds))  # between two of these, the sum of the shares is linear in the factor
    sums = np.array([np.clip(factor * weights, lower, upper).sum() for factor in factors])
    above = min(int(np.searchsorted(sums, count)), len(sums) - 1)
    below = max(0, above - 1)
    part = (count - sums[below]) / max(sums[above] - sums[below], 1e-300)
    factor = factors[below] + min(1.0, float(part)) * (factors[above] - factors[below])
    return np.asarray(np.clip(factor * weights, lower, upper))


def _rounded(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Whole numbers that sum to a count, the largest remainders rounded up."""
    whole = np.floor(shares + 1e-9).astype(np.int64)
    order = np.argsort(-(shares - whole), kind="stable")
    whole[order[: count - int(whole.sum())]] += 1
    return whole
