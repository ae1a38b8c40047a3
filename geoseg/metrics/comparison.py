"""Models compared on the same pixels: scores and paired differences, each with its interval.

In: the pixel counts of each model in the same units. Out: figures with intervals. Knows no files and no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg.metrics.intervals import Bootstrap, Draws, Interval
from geoseg.metrics.scores import Scores
from geoseg.metrics.unit_counts import UnitCounts


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
class ComparedScores:
    """The scores of a model, and how far they are from those of another one."""

    scores: Scores
    """Its scores on all pixels."""
    miou: Estimate
    """Its mIoU."""
    iou: Mapping[str, Estimate]
    """Its IoU by class name."""
    miou_difference: Estimate
    """Its mIoU less that of the baseline."""
    iou_difference: Mapping[str, Estimate]
    """The same by class name."""


def compare_counts(
    counts: Sequence[UnitCounts], names: Sequence[str], baseline: int | None, bootstrap: Bootstrap
) -> tuple[list[ComparedScores], int]:
    """Compare models that were counted in the same units.

    Args:
        counts: of each model.
        names: of the classes.
        baseline: index of the model that the others are compared with; None means that with the highest mIoU.
        bootstrap: draws the units.

    Returns:
        The scores of each model, in the order of `counts`, and the index of the baseline.
    """
    scores = [one.scores(names) for one in counts]
    mious = [bootstrap.figures(one, "miou") for one in counts]
    ious = [bootstrap.figures(one, "iou") for one in counts]
    base = int(np.argmax([one.miou for one in scores])) if baseline is None else baseline
    compared = []
    for own, miou, iou in zip(scores, mious, ious, strict=True):
        other = scores[base]
        compared.append(
            ComparedScores(
                scores=own,
                miou=_estimate(own.miou, None, miou, bootstrap),
                iou=_by_class(own, None, iou, bootstrap),
                miou_difference=_estimate(own.miou, other.miou, miou - mious[base], bootstrap),
                iou_difference=_by_class(own, other, iou - ious[base], bootstrap),
            )
        )
    return compared, base


def _by_class(own: Scores, other: Scores | None, draws: Draws, bootstrap: Bootstrap) -> dict[str, Estimate]:
    pairs = zip(own.iou, draws.T, strict=True)
    return {
        name: _estimate(own.iou[name], None if other is None else other.iou[name], of_class, bootstrap)
        for name, of_class in pairs
    }


def _estimate(own: float | None, other: float | None, draws: Draws, bootstrap: Bootstrap) -> Estimate:
    """A figure, less another one if there is one."""
    if own is None:
        return Estimate(None, None)
    return Estimate(own if other is None else own - other, bootstrap.interval(draws))
