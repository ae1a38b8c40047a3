"""Intervals of scores: a case worked out by hand, paired differences, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from geoseg.metrics.intervals import Bootstrap, Interval, expanded_quantiles, student_quantile
from geoseg.metrics.unit_counts import UnitCounts

CLASSES = 3


def counts_of(confusion: NDArray[np.int64]) -> UnitCounts:
    """Counts of units (U, K, K) without boundaries."""
    none = np.zeros(confusion.shape[:2], np.int64)
    return UnitCounts(confusion, none, none, None)


def units(count: int, random: np.random.Generator, better: float = 0.0) -> tuple[UnitCounts, UnitCounts]:
    """Counts of two models in units of uneven size, mixture and difficulty; one makes fewer mistakes in all of them."""
    mixture = random.dirichlet([0.6] * CLASSES, count) * random.uniform(2000, 10000, count)[:, None]
    hard = random.beta(2, 8, count)
    both = []
    for share in (hard, np.clip(hard + better + random.normal(0, 0.04, count), 0.005, 0.95)):
        wrong = mixture * share[:, None] / (CLASSES - 1)
        confusion = np.repeat(wrong[:, :, None], CLASSES, axis=2)
        confusion[:, range(CLASSES), range(CLASSES)] = mixture - wrong * (CLASSES - 1)
        both.append(counts_of(confusion.round().astype(np.int64)))
    return both[0], both[1]


def miou(counts: UnitCounts) -> float:
    return counts.scores(["a", "b", "c"]).miou


# ------------------------------------------------------------------------------------------------------- a known case


def test_the_interval_of_a_mean_is_that_of_students_t() -> None:
    """Of units of one size, pixel accuracy is the mean of their shares, whose interval is in every textbook."""
    hits = np.random.default_rng(0).integers(60, 100, 30)
    confusion = np.zeros((30, 2, 2), np.int64)
    confusion[:, 0, 0], confusion[:, 0, 1] = hits, 100 - hits
    bootstrap = Bootstrap(30, draws=4000)
    found = bootstrap.interval(bootstrap.figures(counts_of(confusion), "pixel_accuracy"))
    low, high = stats.t.interval(0.95, 29, loc=hits.mean() / 100, scale=stats.sem(hits) / 100)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=0.004), pytest.approx(high, abs=0.004))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 30, 1000])
@pytest.mark.parametrize("share", [0.9, 0.95, 0.975, 0.995])
def test_students_quantile(share: float, freedom: int) -> None:
    assert student_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=0.02)


def test_many_units_need_no_more_than_the_plain_quantiles() -> None:
    assert expanded_quantiles(100_000, 0.95) == (pytest.approx(0.025, abs=1e-4), pytest.approx(0.975, abs=1e-4))
    assert expanded_quantiles(5, 0.95)[0] < 0.005


# ----------------------------------------------------------------------------------------------------------- coverage


def coverage(count: int, cases: int, draws: int = 200) -> NDArray[np.float64]:
    """Shares of simulated cases whose intervals hold the true mIoU, and the true difference of two (2,)."""
    random = np.random.default_rng(1)
    truth = [miou(one) for one in units(100_000, np.random.default_rng(7), better=0.03)]
    held = np.zeros((cases, 2), bool)
    for case in range(cases):
        bootstrap = Bootstrap(count, draws=draws, seed=case)
        first, second = (bootstrap.figures(one, "miou") for one in units(count, random, better=0.03))
        pairs = (first, truth[0]), (first - second, truth[0] - truth[1])
        found = [(bootstrap.interval(draws), true) for draws, true in pairs]
        held[case] = [one is not None and one.low <= true <= one.high for one, true in found]
    return held.mean(axis=0)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """No less than 95 % by more than 4 standard deviations of a share of 60 cases."""
    assert (coverage(15, cases=60) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 60)).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [6, 10, 20, 50])
def test_intervals_of_few_units_hold_the_truth_almost_as_often_as_they_say(count: int) -> None:
    """In 800 cases of 2000 draws it was 93 % of 6 and 10 units, 94 % of 20 and 50, and 93 to 95 % of differences."""
    assert (coverage(count, cases=300, draws=1000) > 0.93 - 3 * math.sqrt(0.93 * 0.07 / 300)).all()


# ---------------------------------------------------------------------------------------------------------- behaviour


def test_a_paired_difference_is_narrower_than_its_two_scores() -> None:
    one, other = units(20, np.random.default_rng(3), better=0.05)
    bootstrap = Bootstrap(20)
    first, second = (bootstrap.figures(counts, "miou") for counts in (one, other))
    alone, difference = bootstrap.interval(first), bootstrap.interval(first - second)
    assert alone is not None
    assert difference is not None
    assert difference.high - difference.low < (alone.high - alone.low) / 2
    assert difference.is_clear
    assert difference.low < miou(one) - miou(other) < difference.high


def test_a_model_is_no_better_than_itself() -> None:
    one, _ = units(12, np.random.default_rng(4))
    bootstrap = Bootstrap(12)
    difference = bootstrap.interval(bootstrap.figures(one, "miou") - bootstrap.figures(one, "miou"))
    assert difference == Interval(0, 0)
    assert not difference.is_clear


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    one, _ = units(12, np.random.default_rng(5))
    first, again, other = (Bootstrap(12, seed=seed).figures(one, "miou") for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_draws_do_not_depend_on_how_many_fit_into_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = units(12, np.random.default_rng(5))
    whole = Bootstrap(12, draws=100).figures(one, "iou")
    monkeypatch.setattr("geoseg.metrics.intervals._CHUNK", 12 * 7)
    assert np.array_equal(Bootstrap(12, draws=100).figures(one, "iou"), whole)
    assert whole.shape == (100, CLASSES)


def test_a_single_unit_and_a_class_of_few_resamples_have_no_interval() -> None:
    one, _ = units(12, np.random.default_rng(6))
    confusion = one.confusion.copy()
    confusion[1:, 2] = 0  # the class is labelled in one unit of twelve, which 35 % of the resamples lack
    confusion[:, :, 2] = 0
    confusion[0, 2] = 0
    bootstrap = Bootstrap(12, draws=200)
    found = bootstrap.intervals(bootstrap.figures(counts_of(confusion), "iou"))
    assert [interval is None for interval in found] == [False, False, True]
    single = Bootstrap(1, draws=10)
    assert single.interval(single.figures(counts_of(confusion[:1]), "miou")) is None
