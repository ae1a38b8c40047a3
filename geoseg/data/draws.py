"""Draws of the units of a split: which go to the test, which to validation, and to which fold of a cross-validation.

In: labelled pixels per class of each unit (N, K): of a block, an image or a polygon. Out: a side of each (N,). Reads
nothing; a seed gives one draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import SplitSpec

DRAWS = 200
"""Number of random draws; the one with the most even class shares is taken."""
TRAIN, VAL, TEST = 0, 1, 2
"""Numbers of the sides."""
NO_FOLD = -1
"""Fold of units that are for training in every fold."""
Counts = NDArray[np.int64]
Sides = NDArray[np.int64]
Chosen = NDArray[np.bool_]


def draw_sides(counts: Counts, spec: SplitSpec, *, is_stratified: bool) -> Sides:
    """The side of each unit (N,), of at least two, or three if there is to be a test side.

    The test side is drawn first, by itself, so that it is the same whatever the folds or the share of validation.

    Args:
        counts: labelled pixels per class (N, K).
        spec: shares of the sides, or the folds and the one that validates; the seed.
        is_stratified: whether each unit has one class, of which each side is to have some.
    """
    sides = np.full(len(counts), TRAIN)
    validates = spec.folds is not None or spec.val_share > 0
    if spec.test_share:
        rng = np.random.default_rng((spec.seed, TEST))
        kept = 1 + validates
        chosen = _draw_share(counts, _Draw(spec.test_share, kept, is_stratified), rng)
        sides[chosen] = TEST
    if validates:
        rest = np.flatnonzero(sides == TRAIN)
        sides[rest[_validated(counts[rest], spec, is_stratified=is_stratified)]] = VAL
    return sides


def _validated(counts: Counts, spec: SplitSpec, *, is_stratified: bool) -> Chosen:
    """Which units (N,), of those that are not for the test, validate."""
    if spec.folds is not None:
        return np.equal(deal_folds(counts, spec.folds, spec.seed), (spec.fold or 1) - 1)
    share = spec.val_share / (1 - spec.test_share)
    return _draw_share(counts, _Draw(share, 1, is_stratified), np.random.default_rng(spec.seed))


@dataclass(frozen=True)
class _Draw:
    """How some units are drawn."""

    share: float
    """Share of the labelled pixels, or of the units of each class."""
    left: int
    """Least number of units that are left, of each class if these are drawn by themselves."""
    is_stratified: bool
    """Whether the units of each class are drawn by themselves."""


def _draw_share(counts: Counts, draw: _Draw, rng: np.random.Generator) -> Chosen:
    """Units (N,) with a share of each class that is as even as several draws give it."""
    take = _stratified if draw.is_stratified else _by_area
    draws = [take(counts, draw.share, draw.left, rng) for _ in range(DRAWS)]
    total, present = np.maximum(counts.sum(axis=0), 1), counts.any(axis=0)
    shares = np.stack([counts[one].sum(axis=0) / total for one in draws])[:, present]
    uneven = np.abs(shares - draw.share)
    return draws[int(np.argmin(uneven.sum(axis=1) if draw.is_stratified else uneven.max(axis=1)))]


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


def _by_area(counts: Counts, share: float, left: int, rng: np.random.Generator) -> Chosen:
    """Take units in random order up to a share of the total area; at least one, and never all."""
    areas = counts.sum(axis=1)
    order = rng.permutation(len(areas))
    before = np.cumsum(areas[order]) - areas[order] / 2
    count = min(max(1, int((before < share * areas.sum()).sum())), len(areas) - left)
    chosen = np.zeros(len(areas), bool)
    chosen[order[:count]] = True
    return chosen


def _stratified(counts: Counts, share: float, left: int, rng: np.random.Generator) -> Chosen:
    """Take a share of the units of each class: at least one, where as many as must be left remain."""
    chosen = np.zeros(len(counts), bool)
    for column in counts.T:
        units = rng.permutation(np.flatnonzero(column))
        if len(units) > left:
            chosen[units[: min(max(1, round(share * len(units))), len(units) - left)]] = True
    return chosen
