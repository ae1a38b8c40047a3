"""Scores: a table of named figures. In: counts of pixels, and names of classes. Out: the figures of all metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

from geoseg.metrics.interval import Interval, ScoreIntervals
from geoseg.metrics.metric import FORMER_NAMES, METRICS, Counts, Wording

V = TypeVar("V")
ClassFigures = dict[str, float | None]
"""A figure per class name; None where there is nothing to divide by."""
FIRST_COLUMNS = ("iou", "f1", "precision", "recall")
"""Columns that stand first in a table of the classes; the others follow as they are registered."""

COUNTS = ("confusion", "pixels", "labelled_classes", "boundary_px", "boundary_counts", "intervals")
"""Values of `Scores.as_dict` that are no figures."""


@dataclass(frozen=True)
class Figure(Generic[V]):
    """A figure with its name and wording."""

    name: str
    """Its name in `Scores`."""
    words: Wording
    """Its wording."""
    needs_boundaries: bool
    """Whether it is computed from boundaries."""
    value: V
    """One for all classes, or one per class."""


@dataclass(frozen=True)
class Scores:
    """How well predictions match labels. Every figure is also an attribute: `scores.miou`, `scores.iou["water"]`."""

    overall: dict[str, float | None]
    """Figures over all classes by metric; None where there is nothing to divide by, as where no pixel is labelled."""
    by_class: dict[str, ClassFigures]
    """Figures per class name by metric."""
    confusion: tuple[tuple[int, ...], ...]
    """Pixels by true (rows) and predicted (columns) class, in the order of the names."""
    pixels: int
    """Labelled pixels counted."""
    boundary_px: int | None
    """Width of the band inside a class's contour that boundary IoU compares; None where it was not compared."""
    boundary_counts: tuple[tuple[int, ...], ...] | None = None
    """Pixels in the boundaries of each class, both in labels and in predictions, and in either; None where they are not
    known."""
    intervals: ScoreIntervals | None = field(default=None, compare=False)
    """The intervals of all figures; None where they were not found, as of an epoch. Scores are equal if their counts
    and figures are."""

    def __getattr__(self, name: str) -> Any:
        for figures in (self.__dict__.get("overall", {}), self.__dict__.get("by_class", {})):
            if name in figures:
                return figures[name]
        raise AttributeError(f"there is no figure {name!r}")

    @property
    def miou(self) -> float:
        """Mean of the classes' IoU, by which the best epoch is chosen."""
        return self.overall["miou"] or 0.0

    @property
    def labelled_classes(self) -> int:
        """Number of classes that occur in the labels, over which means of classes are taken."""
        return sum(map(any, self.confusion))

    def interval(self, metric: str, of_class: str | None = None) -> Interval | None:
        """The interval of a figure over all classes, or of that of a class; None where there is none."""
        return None if self.intervals is None else self.intervals.find(metric, of_class)

    @property
    def iou(self) -> ClassFigures:
        """Intersection over union per class name."""
        return self.by_class["iou"]

    @property
    def headline(self) -> list[Figure[float | None]]:
        """Figures over all classes, without those of boundaries that were not compared."""
        return self._shown(self.overall)

    @property
    def columns(self) -> list[Figure[ClassFigures]]:
        """Figures per class in the order of a table, without those of boundaries that were not compared."""
        found = self._shown(self.by_class)
        first = [figure for name in FIRST_COLUMNS for figure in found if figure.name == name]
        return first + [figure for figure in found if figure.name not in FIRST_COLUMNS]

    def _shown(self, table: Mapping[str, V]) -> list[Figure[V]]:
        shown = []
        for name, metric in ((name, METRICS.get(name)) for name in METRICS if name in table):
            if self.boundary_px is not None or not metric.needs_boundaries:
                words = metric.words.filled(self.boundary_px)
                shown.append(Figure(name, words, metric.needs_boundaries, table[name]))
        return shown

    def epoch_columns(self) -> dict[str, float | None]:
        """Figures that a training run records after each epoch, to four digits, by column: "miou", "iou water"."""
        noted = [name for name in METRICS if METRICS.get(name).per_epoch]
        overall = {name: self.overall[name] for name in noted if name in self.overall}
        by_class = {f"{name} {of}": v for name in noted for of, v in self.by_class.get(name, {}).items()}
        return {name: None if value is None else round(value, 4) for name, value in (overall | by_class).items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: each figure under its name."""
        return {
            **self.overall,
            **{name: dict(figures) for name, figures in self.by_class.items()},
            "confusion": [list(row) for row in self.confusion],
            "pixels": self.pixels,
            "labelled_classes": self.labelled_classes,
            "boundary_px": self.boundary_px,
            "boundary_counts": self.boundary_counts and [list(row) for row in self.boundary_counts],
            "intervals": self.intervals and self.intervals.as_dict(self.overall, self.by_class),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The scores from the values of `as_dict`, also those that geoseg 0.1 has written."""
        figures = {FORMER_NAMES.get(k, k): v for k, v in values.items() if k not in COUNTS}
        return cls(
            overall={name: value for name, value in figures.items() if not isinstance(value, Mapping)},
            by_class={name: dict(value) for name, value in figures.items() if isinstance(value, Mapping)},
            confusion=tuple(tuple(row) for row in values["confusion"]),
            pixels=values["pixels"],
            boundary_px=values["boundary_px"],
            boundary_counts=(rows := values.get("boundary_counts")) and tuple(map(tuple, rows)),
            intervals=(found := values.get("intervals")) and ScoreIntervals.from_dict(found),
        )


def scores_of(
    confusion: Tensor,
    names: Sequence[str],
    boundary_intersections: Tensor | None = None,
    boundary_unions: Tensor | None = None,
    *,
    boundary_px: int | None = None,
) -> Scores:
    """Compute the figures from counts, as `ScoreCounter` keeps them.

    Args:
        confusion: (K, K) integers, pixels by true (rows) and predicted (columns) class.
        names: of the classes (K), in the order of their indexes.
        boundary_intersections: (K,) integers; None where boundaries were not compared.
        boundary_unions: (K,) integers, likewise.
        boundary_px: width of the boundaries; None where they were not compared.
    """
    none = torch.zeros(len(names))
    boundaries = (none if counts is None else counts for counts in (boundary_intersections, boundary_unions))
    counts = Counts(*(part.cpu().double() for part in (confusion, *boundaries)))
    overall: dict[str, float | None] = {}
    by_class: dict[str, ClassFigures] = {}
    for name in METRICS:
        metric = METRICS.get(name)()
        figure = metric.figure(counts)
        if metric.by_class:
            by_class[name] = {of: _known(value) for of, value in zip(names, figure, strict=True)}
        else:
            overall[name] = _known(figure) if counts.confusion.any() else None
    borders = (counts.boundary_intersections, counts.boundary_unions) if boundary_px is not None else None
    return Scores(
        overall,
        by_class,
        tuple(map(tuple, confusion.long().tolist())),
        int(confusion.sum()),
        boundary_px,
        borders and tuple(tuple(row.long().tolist()) for row in borders),
    )


def pooled_scores(several: Sequence[Scores]) -> Scores:
    """The scores of all pixels of several evaluations of the same classes together: counts are added, then divided."""
    first = several[0]
    confusion = torch.tensor([one.confusion for one in several]).sum(dim=0)
    borders = [one.boundary_counts for one in several]
    if any(one is None for one in borders):
        return scores_of(confusion, list(first.iou))
    together = torch.tensor(borders).sum(dim=0)
    return scores_of(confusion, list(first.iou), together[0], together[1], boundary_px=first.boundary_px)


def _known(value: Tensor) -> float | None:
    """A figure; None where it is NaN."""
    number = float(value)
    return None if number != number else number
