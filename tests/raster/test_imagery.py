"""How far crops lie from the spread of others, and the values of a band as equally many parts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.distributions import Distribution, distributions_of
from geoseg.raster.imagery import (
    PARTS,
    describe_bands,
    distances,
    distribution_of,
    learn_spread,
    rank_counts,
    values_of,
)


def drawn(count: int, seed: int = 0, size: int = 6) -> np.ndarray:
    """Correlated vectors (count, size), always of one distribution."""
    mixed = np.random.default_rng(99).normal(size=(size, size))
    return 50 + 10 * np.random.default_rng(seed).normal(size=(count, size)) @ mixed


@given(st.integers(0, 1000))
def test_others_of_the_same_distribution_are_within_reach(seed):
    spread = learn_spread(drawn(160, seed), np.arange(160) // 8)
    assert (distances(drawn(400, seed + 1), spread) > spread.reach).mean() < 0.1


def test_vectors_of_other_means_or_other_correlations_are_out_of_reach():
    known = drawn(160)
    spread = learn_spread(known, np.arange(160) // 8)
    assert (distances(known + 10 * known.std(axis=0), spread) > spread.reach).all()
    shuffled = np.random.default_rng(1).permuted(known, axis=0)  # each number for itself is as it was
    assert np.median(distances(shuffled, spread)) > 1.2 * np.median(distances(known, spread))


def test_the_reach_is_what_a_left_out_place_would_have_been():
    known, places = drawn(160), np.arange(160) // 8
    known[places == 3] += 200  # a place of its own kind
    spread = learn_spread(known, places)
    alone = learn_spread(known[places != 3], places[places != 3])
    assert spread.reach > alone.reach
    assert spread.crops == 160


@pytest.mark.parametrize("count", [8, 9, 40])
def test_few_crops_have_a_wide_reach(count):
    few, many = learn_spread(drawn(count), np.arange(count)), learn_spread(drawn(400), np.arange(400))
    assert (distances(drawn(200, 5), few) <= few.reach).mean() > 0.9
    assert (distances(drawn(200, 5), many) <= many.reach).mean() > 0.95


def test_too_few_crops_or_no_numbers_have_no_spread():
    assert learn_spread(drawn(7), np.arange(7)) is None
    known = drawn(20)
    known[3, 2] = np.nan
    assert learn_spread(known, np.arange(20)) is None


def test_crops_of_one_place_are_places_themselves():
    assert learn_spread(drawn(30), np.zeros(30, int)) == learn_spread(drawn(30), np.arange(30))


def test_numbers_that_never_vary_decide_nothing():
    known = np.insert(drawn(60), 2, 7.0, axis=1)
    spread = learn_spread(known, np.arange(60))
    other = known.copy()
    other[:, 2] = 1e6
    np.testing.assert_allclose(distances(other, spread), distances(known, spread), rtol=1e-3)


def test_all_equal_crops_have_a_spread_without_reach_beyond_them():
    spread = learn_spread(np.full((10, 4), 3.0), np.arange(10))
    assert (distances(np.full((2, 4), 3.0), spread) == 0).all()


def test_a_crop_is_described_over_its_pixels_with_data():
    image = np.array([[[1, 2], [3, 200]], [[10, 10], [10, 99]]], np.uint8)
    valid = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(describe_bands(image, valid), [2, 10, np.std([1, 2, 3]), 0])


@given(st.lists(st.integers(0, 255), min_size=2, max_size=300))
def test_the_values_of_a_band_keep_its_mean_and_its_order(pixels):
    image = np.array(pixels, np.uint8)[None, None]
    (found,) = distributions_of([(image, np.ones(image.shape[1:], bool))], 1, "uint8")
    values = values_of(found)
    assert len(values) == PARTS
    assert list(values) == sorted(values)
    assert np.mean(values) == pytest.approx(np.mean(pixels), rel=1e-3, abs=1e-2)
    made = distribution_of(values, "uint8")
    assert made.mean == pytest.approx(np.mean(pixels), rel=1e-3, abs=1e-2)
    assert made.limits == (0, 255)


def test_values_of_evenly_spread_pixels_are_evenly_spread():
    values = values_of(Distribution(np.arange(1000.0), np.ones(1000), (-np.inf, np.inf)))
    np.testing.assert_allclose(values, np.arange(PARTS) * 10 + 4.5)


def test_pixels_are_ranked_among_the_values():
    known = ((0.0, 10.0, 20.0, 30.0), (5.0, 5.0, 5.0, 9.0))
    image = np.array([[[0, 11, 100]], [[5, 5, 200]]], np.uint8)
    counts = rank_counts(image, np.array([[True, True, True]]), known)
    np.testing.assert_array_equal(counts, [[1, 1, 0, 1], [0, 2, 0, 1]])
    assert rank_counts(image, np.array([[True, False, True]]), known).sum() == 4
