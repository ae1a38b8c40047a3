"""Draws of the units of a split: which go to validation, and to which fold of a cross-validation.

In: labelled pixels per class of each unit (N, K): of a block, an image or a polygon. Out: a side of each (N,). Reads
nothing; a seed gives one draw.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import SplitSpec

DRAWS = 200
"""Number of random draws; the one with the most even class shares is taken."""
TRAIN, VAL = 0, 1
"""Numbers of the sides."""
NO_FOLD = -1
"""Fold of units that are for training in every fold."""
Counts = NDArray[np.int64]
Sides = NDArray[np.int64]


def draw_sides(counts: Counts, spec: SplitSpec, *, is_stratified: bool) -> Sides:
    """The side of each unit (N,), of at least two.

    Args:
        counts: labelled pixels per class (N, K).
        spec: share of the validation side, or the folds and the one that validates; the seed.
        is_stratified: whether each unit has one class, of which each side is to have some.
    """
    if spec.folds is not None:
        return np.where(deal_folds(counts, spec.folds, spec.seed) == (spec.fold or 1) - 1, VAL, TRAIN)
    rng = np.random.default_rng(spec.seed)
    draw = _stratified if is_stratified else _by_area
    draws = [draw(counts, spec.val_share, rng) for _ in range(DRAWS)]
    total, present = np.maximum(counts.sum(axis=0), 1), counts.any(axis=0)
    shares = np.stack([counts[one == VAL].sum(axis=0) / total for one in draws])[:, present]
    uneven = np.abs(shares - spec.val_share)
    return draws[int(np.argmin(uneven.sum(axis=1) if is_stratified else uneven.max(axis=1)))]


def deal_folds(counts: Counts, folds: int, seed: int) -> Sides:
    """The fold of each unit (N,), from 0; NO_FOLD for the only one of a class, without which none could learn it.

    Iterative stratification (Sechidis et al. 2011, "On the stratification of multi-label data"), by pixels: units of
    the class that the fewest units have come first, large ones before small ones, and each goes to the fold that has
    least of its classes, of several equal ones to that with the fewest units.
    """
    rng = np.random.default_rng(seed)
    has = counts > 0
    holders = has.sum(axis=0)
    dealt = np.full(len(counts), NO_FOLD)
    is_needed = (has & (holders == 1)).any(axis=1)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    filled, units = np.zeros((folds, counts.shape[1])), np.zeros(folds)
    rarity = np.where(has, holders, len(counts) + 1).min(axis=1, initial=len(counts) + 1)
    for unit in np.lexsort((rng.random(len(counts)), -counts.sum(axis=1), rarity)):
        if is_needed[unit] or not has[unit].any():
            continue
        fullness = np.round(filled[:, has[unit]].sum(axis=1), 9)
        fold = int(np.lexsort((rng.random(folds), units, fullness))[0])
        dealt[unit] = fold
        filled[fold] += shares[unit]
        units[fold] += 1
    return dealt


def _by_area(counts: Counts, val_share: float, rng: np.random.Generator) -> Sides:
    """Take units in random order up to a share of the total area; at least one, and never all."""
    areas = counts.sum(axis=1)
    order = rng.permutation(len(areas))
    before = np.cumsum(areas[order]) - areas[order] / 2
    count = min(max(1, int((before < val_share * areas.sum()).sum())), len(areas) - 1)
    chosen = np.full(len(areas), TRAIN)
    chosen[order[:count]] = VAL
    return chosen


def _stratified(counts: Counts, val_share: float, rng: np.random.Generator) -> Sides:
    """Take a share of the units of each class; of two and more at least one, and never all."""
    chosen = np.full(len(counts), TRAIN)
    for column in counts.T:
        units = rng.permutation(np.flatnonzero(column))
        if len(units) > 1:
            chosen[units[: min(max(1, round(val_share * len(units))), len(units) - 1)]] = VAL
    return chosen
