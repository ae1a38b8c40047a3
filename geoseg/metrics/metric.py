"""The contract of a metric, and the registry. Knows counts, not their origin; imports no tensor library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """Pixel counts for K classes, on the CPU, from which all metrics are computed."""

    confusion: Tensor
    """(K, K) float64: pixels by true (rows) and predicted (columns) class."""
    boundary_intersections: Tensor
    """(K,) float64: pixels in the boundary of a class both in labels and in predictions; 0 where not compared."""
    boundary_unions: Tensor
    """(K,) float64: pixels in the boundary of a class in labels or in predictions; 0 where not compared."""

    @property
    def hits(self) -> Tensor:
        """(K,) correctly predicted pixels of each class."""
        return self.confusion.diagonal()

    @property
    def predicted(self) -> Tensor:
        """(K,) pixels predicted as each class."""
        return self.confusion.sum(dim=0)

    @property
    def true(self) -> Tensor:
        """(K,) pixels labelled as each class."""
        return self.confusion.sum(dim=1)


@dataclass(frozen=True)
class Wording:
    """Names and explanation of a figure; `{px}` stands for the width of the boundaries in pixels."""

    label: str
    """Label on a terminal, e.g. "pixel accuracy"."""
    heading: str
    """Heading in a report, e.g. "Pixel accuracy"."""
    meaning: str = ""
    """A sentence in a report."""
    also: str = ""
    """Another name by which the figure is known, e.g. "user’s accuracy"."""

    def filled(self, boundary_px: int | None) -> Wording:
        """The same with the width of the boundaries filled in."""
        label, heading, meaning = (
            text.replace("{px}", str(boundary_px)) for text in (self.label, self.heading, self.meaning)
        )
        return replace(self, label=label, heading=heading, meaning=meaning)


class Metric(Protocol):
    """One figure of `Scores`, over all classes or of each class; its name is that in the registry.

    1 is perfect, and nothing is above it or below -1. Its module does not import PyTorch, without which settings are
    checked. `tests/metrics/test_metrics_contract.py` holds every registered metric to that.
    """

    words: Wording
    """Its names and explanation."""
    by_class: bool
    """Whether there is a figure for each class, instead of one for all."""
    over_classes: bool
    """Whether it is taken over the classes that occur, as a mean or the least of them: where one of them does not
    occur, it is another figure. False for a figure by class."""
    needs_boundaries: bool
    """Whether it needs the counts of boundaries, which are not always compared."""
    per_epoch: bool
    """Whether a training run records it after each epoch, in metrics.csv and for TensorBoard."""

    def figure(self, counts: Counts) -> Tensor:
        """The figure, float64: (K,) by class, else a scalar; NaN where there is nothing to divide by."""
        ...


METRICS: Registry[type[Metric]] = Registry(
    "metric",
    "geoseg.metrics",
    {
        "miou": "geoseg.metrics.iou:MeanIou",
        "pixel_accuracy": "geoseg.metrics.accuracy:PixelAccuracy",
        "mean_class_accuracy": "geoseg.metrics.accuracy:MeanClassAccuracy",
        "frequency_weighted_iou": "geoseg.metrics.frequency_weighted_iou:FrequencyWeightedIou",
        "kappa": "geoseg.metrics.kappa:Kappa",
        "boundary_miou": "geoseg.metrics.boundary_iou:MeanBoundaryIou",
        "iou": "geoseg.metrics.iou:Iou",
        "f1": "geoseg.metrics.f1:F1",
        "recall": "geoseg.metrics.recall:Recall",
        "precision": "geoseg.metrics.precision:Precision",
        "boundary_iou": "geoseg.metrics.boundary_iou:BoundaryIou",
    },
)
"""All metrics by name; what is registered is a class, made without arguments."""
FORMER_NAMES = {"accuracy": "recall"}
"""Names of metrics in files and commands of geoseg 0.1, and the names that replace them."""


def of_labelled(counts: Counts, figures: Tensor) -> Tensor:
    """Figures (K,) with NaN for the classes that no labelled pixel has: of those nothing is known."""
    return figures.where(counts.true > 0, float("nan"))


def or_zero(value: Tensor) -> Tensor:
    """A figure with 0 in place of NaN."""
    return value.nan_to_num(0, posinf=0, neginf=0)
