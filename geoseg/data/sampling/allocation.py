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


def allocate(areas: NDArray[np.float64], count: int, how: Allocation, least: int) -> NDArray[np.int64]:
    """Number of places in each stratum (S,), `count` in all, at least `least` in each that has an area.

    What is left beyond the minimum is shared in proportion to the areas, or equally, and rounded by largest remainders:
    rare classes get enough places for an accuracy of their own, and large ones most of the rest.

    Raises:
        SpecError: if the minimum of all strata together is more than the count.
    """
    exists = areas > 0
    if least * int(exists.sum()) > count:
        raise SpecError(
            f"{int(exists.sum())} strata with {least} places each are more than {count}: raise count, or lower "
            "min_per_class"
        )
    weights = areas * exists if how == "proportional" else exists.astype(np.float64)
    wanted = weights / weights.sum() * count
    short = exists & (wanted < least)
    while (
        True
    ):  # those that are short get the minimum, and the others share the rest, which may make more of them short
        rest = weights * ~short
        shared = np.where(short, least, rest / max(rest.sum(), 1e-300) * (count - least * short.sum()))
        if not (more := exists & ~short & (shared < least)).any():
            return _rounded(shared, count)
        short |= more


def _rounded(shares: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Whole numbers that sum to a count, the largest remainders rounded up."""
    whole = np.floor(shares + 1e-9).astype(np.int64)
    order = np.argsort(-(shares - whole), kind="stable")
    whole[order[: count - int(whole.sum())]] += 1
    return whole
