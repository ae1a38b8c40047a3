"""Models compared on the same pixels: scores and paired differences, each with its interval.

In: the pixel counts of each model in the same units. Out: figures with intervals. Knows no files and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.metrics.interval import Interval
from geoseg.metrics.intervals import Bootstrap, Draws
from geoseg.metrics.scores import Scores
from geoseg.metrics.unit_counts import UnitCounts

BOUNDARY = "boundary_miou"
"""Name of the metric of boundaries that is compared."""


@dataclass(frozen=True)
class Estimate:
    """A figure, or a difference of two, with its interval."""

    value: float | None
    """The figure on all pixels; None where there is nothing to divide by."""
    interval: Interval | None
    """Its 95 % interval; None where units are too few."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and self.interval.is_clear


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two figures of the same units."""

    p: float | None = None
    """How often chance alone gives one as far from 0, two-sided; None where units are too few."""


@dataclass(frozen=True)
class ComparedScores:
    """The scores of a model, and how far they are from those of another one."""

    scores: Scores
    """Its scores on all pixels, with their intervals."""
    miou: Estimate
    """Its mIoU."""
    boundary_miou: Estimate
    """Its boundary mIoU; without a value where boundaries were not compared."""
    iou: Mapping[str, Estimate]
    """Its IoU by class name."""
    miou_difference: Difference
    """Its mIoU less that of the baseline."""
    boundary_miou_difference: Difference
    """Its boundary mIoU less that of the baseline."""
    iou_difference: Mapping[str, Difference]
    """The same by class name."""


def compare_scores(
    counts: Sequence[UnitCounts], scores: Sequence[Scores], baseline: int | None, bootstrap: Bootstrap
) -> tuple[list[ComparedScores], int]:
    """Compare models that were counted in the same units.

    Args:
        counts: of each model.
        scores: of each model, with intervals of the same bootstrap.
        baseline: index of the model that the others are compared with; None means that with the highest mIoU.
        bootstrap: draws the units.

    Returns:
        The scores of each model, in the order of `counts`, and the index of the baseline.
    """
    drawn = [bootstrap.all_figures(one, ["miou", BOUNDARY, "iou"]) for one in counts]
    base = int(np.argmax([one.miou for one in scores])) if baseline is None else baseline
    other = scores[base]
    compared = []
    for own, figures in zip(scores, drawn, strict=True):
        less = {name: figures[name] - drawn[base][name] for name in figures}
        by_class = zip(own.iou, less["iou"].T, counts[base].holders, strict=True)
        compared.append(
            ComparedScores(
                scores=own,
                miou=Estimate(own.miou, own.interval("miou")),
                boundary_miou=Estimate(own.overall.get(BOUNDARY), own.interval(BOUNDARY)),
                iou={name: Estimate(value, own.interval("iou", name)) for name, value in own.iou.items()},
                miou_difference=_difference(own.miou, other.miou, less["miou"], bootstrap),
                boundary_miou_difference=_difference(
                    own.overall.get(BOUNDARY), other.overall.get(BOUNDARY), less[BOUNDARY], bootstrap
                ),
                iou_difference={
                    name: _difference(own.iou[name], other.iou[name], of_class, bootstrap, holders)
                    for name, of_class, holders in by_class
                },
            )
        )
    return compared, base


def _difference(
    own: float | None, other: float | None, draws: Draws, bootstrap: Bootstrap, holders: int | None = None
) -> Difference:
    """A figure less another one."""
    if own is None or other is None:
        return Difference(None, None)
    return Difference(own - other, bootstrap.interval(draws, holders), bootstrap.p_value(draws, holders))
