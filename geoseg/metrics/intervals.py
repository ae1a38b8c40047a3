"""Intervals of scores, and of differences of scores, by a bootstrap over units: images, or square blocks.

In: pixel counts of each unit. Out: the figures of resamples, and the intervals that hold 95 % of them.

Neighbouring pixels are alike, so that pixels are no independent observations: a resample draws whole units, as many
as there are, with replacement, and pools their counts (Efron & Tibshirani 1993, "An Introduction to the Bootstrap",
chapters 6 and 13; for clustered data Field & Welsh 2007, "Bootstrapping clustered data"). Models are compared on the
same draws, as each unit is as hard for one as for the other (the paired bootstrap, Koehn 2004, "Statistical
significance tests for machine translation evaluation"): the interval of a difference is narrower than its two scores'
intervals suggest.

Quantiles of resamples are too narrow where units are few: they lack the factor √(n / (n - 1)) and the tails of
Student's t. The *expanded percentile interval* (Hesterberg 2015, "What Teachers Should Know About the Bootstrap") takes
quantiles as far out as makes up for both. In simulations of mIoU with classes in clumps, nominal 95 % intervals held
the truth in 84 % (6 units), 88 % (10), 92 % (20) of the cases by plain quantiles, in 85 %, 88 %, 92 % by BCa, and in
93 %, 93 %, 94 % by this one; of paired differences it held 93 %, 94 %, 95 %.

A figure over classes, as their mean, is that of the classes which occur in all units together. A resample that lacks
one of them gives the figure of fewer classes, which is another one: it is left out, as if it were drawn again. Where
more than a quarter of the resamples lack one, as they do where a class has labels in a single unit, the figure has no
interval: how it varies with that class is then not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.metrics.interval import LEAST_UNITS, LEVEL, Interval, ScoreIntervals
from geoseg.metrics.metric import METRICS, Counts, Metric
from geoseg.metrics.scores import Scores
from geoseg.metrics.unit_counts import UnitCounts

DRAWS = 2000
"""Resamples by default: the ends of an interval then vary by about a fortieth of its width from seed to seed."""
MOST_LACKING = 0.25
"""Largest share of resamples without a figure for which it has an interval."""
_CHUNK = 2**22
"""Numbers held at once while units are drawn."""

Draws = NDArray[np.float64]
"""A figure in each of D resamples: (D,), or (D, K) by class; NaN where a resample has nothing to divide by, or lacks
one of the classes over which the figure is taken."""


@dataclass(frozen=True)
class Bootstrap:
    """Resamples of units; the same for all counts of the same units."""

    units: int
    """Number of units (U)."""
    draws: int = DRAWS
    """Number of resamples (D)."""
    seed: int = 0
    """Seed of the draws."""

    def figures(self, counts: UnitCounts, name: str) -> Draws:
        """A registered metric in every resample of counts of these units."""
        return self.all_figures(counts, [name])[name]

    def all_figures(self, counts: UnitCounts, names: Sequence[str]) -> dict[str, Draws]:
        """Registered metrics by name, in every resample of counts of these units, which are drawn once for all."""
        metrics = {name: METRICS.get(name)() for name in names}
        full = {name: _occurring(one, counts.total) for name, one in metrics.items()}
        parts = [
            {name: _over(full[name], one, drawn) for name, one in metrics.items()} for drawn in self._resamples(counts)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _resamples(self, counts: UnitCounts) -> Iterator[Counts]:
        """The pooled counts of resamples, some at a time: confusion (d, K, K), boundaries (d, K)."""
        classes, units = counts.confusion.shape[-1], self.units
        parts = counts.confusion, counts.boundary_intersections, counts.boundary_unions
        pooled = np.concatenate([part.reshape(units, -1) for part in parts], axis=1).astype(np.float64)
        for times in self._times(pooled.shape[1]):
            drawn = torch.from_numpy(times @ pooled)
            confusion, both, either = torch.split(drawn, [classes**2, classes, classes], dim=1)
            yield Counts(confusion.reshape(-1, classes, classes), both, either)

    def _times(self, width: int) -> Iterator[NDArray[np.float64]]:
        """How often each unit is drawn in each resample, (d, U), so many at a time as fit with their counts (d, W)."""
        random, at_once = np.random.default_rng(self.seed), max(1, _CHUNK // (self.units + width))
        for done in range(0, self.draws, at_once):
            size = min(at_once, self.draws - done)
            yield random.multinomial(self.units, np.full(self.units, 1 / self.units), size).astype(np.float64)

    def interval(self, figures: Draws, holders: int | None = None) -> Interval | None:
        """The expanded percentile interval of a figure or of a difference (D,).

        None if there are fewer than `LEAST_UNITS` units, or more than `MOST_LACKING` of the resamples have no figure.

        Args:
            figures: in each resample.
            holders: number of units that the figure is of, where only some have labels of its class.
        """
        known, units = figures[~np.isnan(figures)], self.units if holders is None else holders
        if units < LEAST_UNITS or len(known) < (1 - MOST_LACKING) * len(figures):
            return None
        low, high = np.quantile(known, expanded_quantiles(units, LEVEL))
        return Interval(float(low), float(high))

    def intervals(self, figures: Draws, holders: Sequence[int]) -> list[Interval | None]:
        """The intervals of figures by class (D, K), given the number of units with labels of each (K)."""
        return [self.interval(of_class, units) for of_class, units in zip(figures.T, holders, strict=True)]

    def p_value(self, differences: Draws, holders: int | None = None) -> float | None:
        """How often chance alone gives a difference as far from 0 (D,), two-sided; None where there is no interval.

        It is the level at which the end of the interval meets 0: below 5 % where the 95 % interval excludes 0. The
        share of resamples beyond 0 has one added above and below (Davison & Hinkley 1997, "Bootstrap Methods and their
        Application", eq. 4.11): no number of resamples shows that p is 0.
        """
        known, units = differences[~np.isnan(differences)], self.units if holders is None else holders
        if units < LEAST_UNITS or len(known) < (1 - MOST_LACKING) * len(differences):
            return None
        beyond = (1 + min(int((known <= 0).sum()), int((known >= 0).sum()))) / (1 + len(known))
        if beyond >= 0.5:
            return 1.0
        reach = -NormalDist().inv_cdf(beyond) / math.sqrt(units / (units - 1))
        return 2 * _student_tail(reach, units - 1)

    def scores(self, counts: UnitCounts, names: Sequence[str], unit: str) -> Scores:
        """The scores of all units together, with their intervals.

        Args:
            counts: of these units.
            names: of the K classes.
            unit: what a unit is, e.g. "a block of 1024 px".
        """
        holders = counts.holders
        overall: dict[str, Interval | None] = {}
        by_class: dict[str, dict[str, Interval | None]] = {}
        drawn = self.all_figures(counts, list(METRICS)) if len(counts) >= LEAST_UNITS else {}
        for name, figures in drawn.items():
            if METRICS.get(name).by_class:
                by_class[name] = dict(zip(names, self.intervals(figures, holders), strict=True))
            else:
                overall[name] = self.interval(figures)
        class_units = dict(zip(names, holders, strict=True))
        found = ScoreIntervals(overall, by_class, unit, len(counts), class_units, self.draws, self.seed)
        return replace(counts.scores(names), intervals=found)


def _occurring(metric: Metric, counts: Counts) -> Tensor:
    """The classes (..., K) that occur in counts, bool, as a metric over classes sees them."""
    labelled = counts.confusion.sum(dim=-1) > 0
    return labelled & (counts.boundary_unions > 0) if metric.needs_boundaries else labelled


def _over(classes: Tensor, metric: Metric, drawn: Counts) -> Draws:
    """A metric in each of some resamples, over the classes (K,) that occur in all units together."""
    found = _figures(metric, drawn)
    if metric.over_classes:
        found[(classes & ~_occurring(metric, drawn)).any(dim=-1).numpy()] = np.nan
    return found


def _figures(metric: Metric, drawn: Counts) -> Draws:
    """A metric in each of some resamples: all at once where its operations allow that, else one by one."""
    parts = drawn.confusion, drawn.boundary_intersections, drawn.boundary_unions
    try:
        found = torch.func.vmap(lambda *one: metric.figure(Counts(*one)))(*parts)
    except RuntimeError:  # it looks at values, which a metric may
        found = torch.stack([metric.figure(Counts(*one)) for one in zip(*parts, strict=True)])
    return np.array(found.numpy(), np.float64)


def expanded_quantiles(units: int, level: float) -> tuple[float, float]:
    """Lower and upper quantile of resamples between which a figure of so many units lies with a confidence."""
    reach = student_quantile((1 + level) / 2, units - 1) * math.sqrt(units / (units - 1))
    return NormalDist().cdf(-reach), NormalDist().cdf(reach)


def student_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t above the median, to a hundredth of its value.

    Two degrees of freedom and fewer have closed forms; for more it is Abramowitz & Stegun 1964, eq. 26.7.5.
    """
    if freedom == 1:
        return math.tan(math.pi * (share - 0.5))
    if freedom == 2:
        return (2 * share - 1) / math.sqrt(2 * share * (1 - share))
    z, n = NormalDist().inv_cdf(share), freedom
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / float(n) ** power for power, term in enumerate(terms))


def _student_tail(quantile: float, freedom: int) -> float:
    """Share of Student's t above a quantile from 0 on, by bisection of `student_quantile`."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_quantile(1 - middle, freedom) > quantile else (low, middle)
    return high
