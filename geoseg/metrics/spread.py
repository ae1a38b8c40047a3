"""Mean and spread of the scores of several runs that differ in their seed alone.

In: scores of the same classes. Out: of every figure the mean, the lowest, the highest, and the standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from geoseg.metrics.scores import Scores


@dataclass(frozen=True)
class Spread:
    """A figure over several runs."""

    mean: float
    """Its mean."""
    lowest: float
    """The lowest of all."""
    highest: float
    """The highest of all."""
    deviation: float | None
    """Standard deviation, with n - 1 in the denominator; None of a single run."""
    runs: int
    """Number of runs that have the figure."""


@dataclass(frozen=True)
class ScoreSpread:
    """Every figure over several runs; those that no run has are left out."""

    overall: Mapping[str, Spread]
    """Of figures over all classes, by metric."""
    by_class: Mapping[str, Mapping[str, Spread]]
    """Of figures per class name, by metric."""
    labels: Mapping[str, str]
    """Label of each metric, e.g. "boundary IoU"."""

    def rows(self) -> Iterator[tuple[str, Spread]]:
        """Label and spread of each figure, those over all classes first."""
        for name, one in self.overall.items():
            yield self.labels[name], one
        for name, several in self.by_class.items():
            for of_class, one in several.items():
                yield f"{self.labels[name]} {of_class}", one

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, under the names that `Scores.as_dict` has."""
        return {name: asdict(one) for name, one in self.overall.items()} | {
            name: {of_class: asdict(one) for of_class, one in several.items()}
            for name, several in self.by_class.items()
        }


def spread_of(several: Sequence[Scores]) -> ScoreSpread:
    """The spread of the scores of several runs, at least one, of the same classes."""
    first = several[0]
    overall = {figure.name: _spread([one.overall.get(figure.name) for one in several]) for figure in first.headline}
    by_class = {
        figure.name: {name: _spread([one.by_class[figure.name].get(name) for one in several]) for name in figure.value}
        for figure in first.columns
    }
    return ScoreSpread(
        {name: one for name, one in overall.items() if one},
        {name: {of: one for of, one in some.items() if one} for name, some in by_class.items()},
        {one.name: one.words.label for one in first.headline} | {one.name: one.words.label for one in first.columns},
    )


def _spread(figures: Sequence[float | None]) -> Spread | None:
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    deviation = stdev(known) if len(known) > 1 else None
    return Spread(fmean(known), min(known), max(known), deviation, len(known))
