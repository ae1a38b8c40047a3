"""Intervals of scores: a case worked out by hand, paired differences, and how often they hold the truth."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from geoseg.metrics.comparison import ComparedScores, compare_scores
from geoseg.metrics.interval import Interval
from geoseg.metrics.intervals import Bootstrap, expanded_quantiles, student_quantile
from geoseg.metrics.metric import METRICS, Counts, Wording
from geoseg.metrics.scores import Scores
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


def test_p_is_that_of_a_paired_t_test() -> None:
    """Of units of one size, a difference of pixel accuracy is a mean of differences, whose p is in every textbook."""
    random = np.random.default_rng(2)
    first = random.integers(600, 800, 24)
    for gain in (0, 4, 9, 14):
        second = first + gain + random.integers(-20, 21, 24)
        both = []
        for hits in (first, second):
            confusion = np.zeros((24, 2, 2), np.int64)
            confusion[:, 0, 0], confusion[:, 0, 1] = hits, 1000 - hits
            both.append(counts_of(confusion))
        bootstrap = Bootstrap(24, draws=20_000)
        less = bootstrap.figures(both[1], "pixel_accuracy") - bootstrap.figures(both[0], "pixel_accuracy")
        assert bootstrap.p_value(less) == pytest.approx(stats.ttest_rel(second, first).pvalue, rel=0.25, abs=0.003)


def test_p_is_below_five_percent_where_the_interval_excludes_zero_and_never_zero() -> None:
    random = np.random.default_rng(11)
    for case in range(40):
        one, other = units(12, random, better=0.02)
        bootstrap = Bootstrap(12, draws=1000, seed=case)
        less = bootstrap.figures(one, "miou") - bootstrap.figures(other, "miou")
        interval, p = bootstrap.interval(less), bootstrap.p_value(less)
        assert interval is not None
        assert p is not None
        assert 0 < p <= 1
        assert interval.is_clear == (p < 0.05) or abs(p - 0.05) < 0.01
    same = np.zeros(1000)
    assert Bootstrap(12).p_value(same) == 1


def test_a_class_in_few_units_has_the_interval_of_so_few() -> None:
    one, _ = units(30, np.random.default_rng(6))
    confusion = one.confusion.copy()
    confusion[8:, 2] = 0  # labelled in eight units of thirty
    scores = Bootstrap(30).scores(counts_of(confusion), ["a", "b", "c"], "an image")
    assert scores.intervals is not None
    assert scores.intervals.class_units == dict(zip("abc", [*confusion.any(axis=2).sum(axis=0)], strict=True))
    assert scores.intervals.class_units["c"] == 8
    bootstrap = Bootstrap(30)
    of_thirty = bootstrap.interval(bootstrap.figures(counts_of(confusion), "recall")[:, 2])
    of_eight = scores.interval("recall", "c")
    assert of_thirty is not None
    assert of_eight is not None
    assert of_eight.high - of_eight.low > of_thirty.high - of_thirty.low
    confusion[4:, 2] = 0
    scores = Bootstrap(30).scores(counts_of(confusion), ["a", "b", "c"], "an image")
    assert scores.interval("iou", "c") is None
    assert scores.interval("iou", "a") is not None
    assert scores.intervals is not None
    assert scores.intervals.scarce == {"c": 4}
    assert scores.intervals.describe().endswith("none for classes with labels in few of them: c (4)")


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_units_have_no_interval_and_say_so(count: int) -> None:
    one, other = units(max(count, 1), np.random.default_rng(6))
    counts = counts_of(one.confusion[:count])
    scores = Bootstrap(count).scores(counts, ["a", "b", "c"], "a block of 64 px")
    assert scores.intervals is not None
    assert not scores.intervals.is_known
    assert scores.interval("miou") is None
    assert scores.interval("iou", "a") is None
    assert "each a block of 64 px, are too few" in scores.intervals.describe()
    assert scores.as_dict()["intervals"]["figures"].keys() >= {"miou", "iou"}
    if count:
        less = Bootstrap(count).figures(one, "miou") - Bootstrap(count).figures(other, "miou")
        assert Bootstrap(count).p_value(less) is None


def test_intervals_come_back_from_plain_values_whatever_classes_are_called() -> None:
    one, _ = units(12, np.random.default_rng(6))
    found = Bootstrap(12).scores(one, ["level", "value", "low"], "an image")
    values = json.loads(json.dumps(found.as_dict()))
    again = Scores.from_dict(values)
    assert again == found
    assert again.intervals == found.intervals
    interval = found.interval("iou", "value")
    assert interval is not None
    figure = values["intervals"]["figures"]["iou"]["value"]
    wanted = {"value": found.iou["value"], "low": interval.low, "high": interval.high, "level": 0.95, "units": 12}
    assert figure == wanted
    assert values["iou"]["value"] == found.iou["value"]  # where it stood before there were intervals
    assert Scores.from_dict({k: v for k, v in values.items() if k != "intervals"}).intervals is None


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.6912, 0.7688), "0.69 to 0.77"),
        (Interval(0.9712, 0.9841), "0.971 to 0.984"),
        (Interval(0.99712, 0.99841), "0.9971 to 0.9984"),
        (Interval(1.0, 1.0), "1.0000 to 1.0000"),
    ],
)
def test_ends_have_the_digits_that_their_distance_supports(interval: Interval, text: str) -> None:
    assert interval.text() == text


class Careful:
    """A metric that looks at values, as tensors of many resamples at once do not allow."""

    words = Wording("careful", "Careful")
    by_class = False
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> torch.Tensor:
        """Pixel accuracy."""
        return counts.hits.sum() / counts.confusion.sum() if counts.confusion.sum() > 0 else torch.tensor(torch.nan)


def test_a_metric_that_looks_at_values_is_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = units(12, np.random.default_rng(5))
    plain = Bootstrap(12, draws=100).figures(one, "pixel_accuracy")
    monkeypatch.setattr(METRICS, "get", lambda name: Careful)
    assert np.allclose(Bootstrap(12, draws=100).figures(one, "pixel_accuracy"), plain)


def test_a_single_unit_and_a_class_of_few_resamples_have_no_interval() -> None:
    one, _ = units(12, np.random.default_rng(6))
    confusion = one.confusion.copy()
    confusion[1:, 2] = 0  # the class is labelled in one unit of twelve, which 35 % of the resamples lack
    confusion[:, :, 2] = 0
    confusion[0, 2] = 0
    bootstrap = Bootstrap(12, draws=200)
    found = bootstrap.intervals(bootstrap.figures(counts_of(confusion), "iou"), counts_of(confusion).holders)
    assert [interval is None for interval in found] == [False, False, True]
    single = Bootstrap(1, draws=10)
    assert single.interval(single.figures(counts_of(confusion[:1]), "miou")) is None


# ------------------------------------------------------------------------------------------------------- rare classes


def two_models_with_a_rare_class(holders: int) -> tuple[UnitCounts, UnitCounts]:
    """Counts in 30 units of two models that find nearly all of two classes, and nothing of c, labelled in few units."""
    both = []
    for one in units(30, np.random.default_rng(8), better=0.03):
        confusion = one.confusion.copy()
        confusion[:, :2, :2] += np.eye(2, dtype=np.int64) * 20_000
        confusion[:, 2] = 0
        confusion[:, :, 2] = 0
        confusion[:holders, 2, 0] = 500
        both.append(counts_of(confusion))
    return both[0], both[1]


OVER_CLASSES = [name for name in METRICS.names if METRICS.get(name).over_classes]


def compared(one: UnitCounts, other: UnitCounts, bootstrap: Bootstrap) -> ComparedScores:
    scores = [bootstrap.scores(counts, ["a", "b", "c"], "an image") for counts in (one, other)]
    return compare_scores([one, other], scores, 1, bootstrap)[0][0]


def test_a_class_in_a_single_unit_leaves_means_over_classes_without_an_interval() -> None:
    found = compared(*two_models_with_a_rare_class(1), Bootstrap(30))
    assert found.scores.intervals is not None
    assert found.scores.interval("miou") is None
    assert found.scores.interval("mean_class_accuracy") is None
    assert (found.miou_difference.interval, found.miou_difference.p) == (None, None)
    assert found.miou_difference.value is not None
    assert found.scores.interval("pixel_accuracy") is not None
    assert found.iou_difference["a"].interval is not None
    said = found.scores.intervals.describe()
    assert said.endswith("; none for means over classes: class c is labelled in 1 unit"), said
    again = Scores.from_dict(json.loads(json.dumps(found.scores.as_dict()))).intervals
    assert again is not None
    assert again.describe() == said


@pytest.mark.parametrize("holders", [2, 3, 8])
def test_means_are_over_the_same_classes_in_every_resample_that_counts(holders: int) -> None:
    """Without c, mIoU would be above 0.9 in some resamples; with it, it is at most 2/3 in all."""
    one, other = two_models_with_a_rare_class(holders)
    bootstrap = Bootstrap(30)
    recall = bootstrap.figures(one, "recall")[:, 2]
    for name in ("miou", "mean_class_accuracy"):
        drawn = bootstrap.figures(one, name)
        assert np.array_equal(np.isnan(drawn), np.isnan(recall))
        assert np.nanmax(drawn) <= 2 / 3
    found = compared(one, other, bootstrap)
    interval, less = found.scores.interval("miou"), found.miou_difference
    assert interval is not None
    assert interval.low <= found.scores.miou <= interval.high <= 2 / 3
    assert less.interval is not None
    assert less.value is not None
    assert less.interval.low <= less.value <= less.interval.high
    assert found.scores.intervals is not None
    assert "means over classes" not in found.scores.intervals.describe()


def test_a_mean_of_boundaries_is_over_the_same_classes_too() -> None:
    confusion = two_models_with_a_rare_class(30)[0].confusion
    unions = np.full((30, 3), 100)
    unions[3:, 2] = 0  # c has an outline in three units
    counts = UnitCounts(confusion, unions * 9 // 10 * np.array([1, 1, 0]), unions, 2)
    drawn = Bootstrap(30).all_figures(counts, OVER_CLASSES)
    assert np.nanmax(drawn["boundary_miou"]) == pytest.approx(0.6)
    assert 0 < np.isnan(drawn["boundary_miou"]).mean() < 0.1
    assert not np.isnan(drawn["miou"]).any()
