"""Draws of blocks, images and polygons: shares of every class on both sides, and in every fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.data.draws import NO_FOLD, TEST, TRAIN, VAL, deal_folds, draw_sides
from geoseg.spec import SplitSpec


def one_class_each(sizes: dict[int, list[int]], classes: int = 4) -> np.ndarray:
    """Pixels per class (N, K) of polygons, given the sizes of those of each class."""
    rows = [(k, size) for k, some in sizes.items() for size in some]
    counts = np.zeros((len(rows), classes), np.int64)
    for row, (k, size) in enumerate(rows):
        counts[row, k] = size
    return counts


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.integers(0, 5), st.sampled_from([0.1, 0.3, 0.5]))
def test_each_class_of_two_polygons_and_more_is_on_both_sides(numbers: list[int], seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    counts = one_class_each({k: rng.integers(1, 100, n).tolist() for k, n in enumerate(numbers)})
    sides = draw_sides(counts, SplitSpec(val_share=share, seed=seed), is_stratified=True)
    for k, number in enumerate(numbers):
        validated = int((sides[counts[:, k] > 0] == VAL).sum())
        assert validated == (0 if number == 1 else min(max(1, round(share * number)), number - 1))


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=4, max_size=4), st.integers(0, 5), st.sampled_from([0.1, 0.2, 0.3]))
def test_each_class_of_three_polygons_and_more_is_on_three_sides(numbers: list[int], seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    counts = one_class_each({k: rng.integers(1, 100, n).tolist() for k, n in enumerate(numbers)})
    spec = SplitSpec(by="polygons", val_share=0.2, test_share=share, seed=seed)
    sides = draw_sides(counts, spec, is_stratified=True)
    for k, number in enumerate(numbers):
        found = [int((sides[counts[:, k] > 0] == side).sum()) for side in (TRAIN, VAL, TEST)]
        assert found[2] == (0 if number < 3 else min(max(1, round(share * number)), number - 2))
        assert min(found[:2]) > 0 or number == 1


def test_the_shares_of_pixels_are_as_even_as_polygons_allow_whatever_single_ones_there_are() -> None:
    counts = one_class_each({0: [10, 20, 30, 40, 100], 1: [5, 50, 45], 2: [70]})
    sides = draw_sides(counts, SplitSpec(val_share=0.2), is_stratified=True)
    assert counts[sides == VAL].sum(axis=0).tolist()[0] == 40
    assert counts[sides == VAL].sum(axis=0).tolist()[1] == 5


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(0, 5), st.booleans())
def test_folds_part_all_units_but_the_only_one_of_a_class(folds: int, seed: int, is_mixed: bool) -> None:
    rng = np.random.default_rng(seed)
    counts = (
        rng.integers(0, 50, (30, 3)) * (rng.random((30, 3)) < 0.5)
        if is_mixed
        else one_class_each(
            {0: [7], 1: rng.integers(1, 50, 13).tolist(), 2: rng.integers(1, 50, 9).tolist()}, classes=3
        )
    )
    dealt = deal_folds(counts, folds, seed)
    assert np.array_equal(dealt, deal_folds(counts, folds, seed))
    holders = (counts > 0).sum(axis=0)
    only = ((counts > 0) & (holders == 1)).any(axis=1) | ~counts.any(axis=1)
    assert np.array_equal(dealt == NO_FOLD, only)
    for fold in range(folds):
        sides = draw_sides(counts, SplitSpec(by="polygons", folds=folds, fold=fold + 1, seed=seed), is_stratified=True)
        assert np.array_equal(sides == VAL, dealt == fold)
        assert (counts[sides != VAL].sum(axis=0) > 0)[holders > 0].all() or folds == 2
    if not is_mixed:
        per_fold = np.stack([(counts[dealt == fold] > 0).sum(axis=0) for fold in range(folds)])
        assert (per_fold[:, 1] > 0).all(), "each fold validates a class of many polygons"


def test_pixels_of_a_class_are_dealt_evenly() -> None:
    counts = np.random.default_rng(1).integers(0, 500, (100, 3))
    dealt = deal_folds(counts, 5, seed=0)
    shares = np.stack([counts[dealt == fold].sum(axis=0) for fold in range(5)]) / counts.sum(axis=0)
    assert shares == pytest.approx(np.full((5, 3), 0.2), abs=0.05)
