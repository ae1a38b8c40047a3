"""Pixel counts of predicted against true classes, of all pixels and near the contours.

In: class indexes of windows, predicted and true. Out: the scores of all of them together. Only counts are kept, K × K
and a few times K, whatever the number of pixels; under distributed training they are summed over processes.
Knows no files, no class ids, and no network.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from geoseg.metrics.boundaries import find_boundaries
from geoseg.metrics.metric import METRICS
from geoseg.metrics.scores import Scores, scores_of
from geoseg.spec import IGNORE


class ScoreCounter(Metric):
    """Counts pixels window by window, from which `scores` computes all metrics.

    Boundaries are those of Cheng et al. 2021, "Boundary IoU", eq. 2, with three decisions that make sense for windows
    of a map: the border of a window is no contour (the land continues beyond it), nor is the border of an unlabelled
    area (nobody knows what is there), and counts are pooled over all windows before they are divided. So windows
    with a halo of `boundary_px` beyond the counted pixels give exactly the value of the whole scene.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    confusion: Tensor
    """(K, K) int64: pixels by true (rows) and predicted (columns) class."""
    boundary_intersections: Tensor
    """(K,) int64: pixels in the boundary of a class both in labels and in predictions."""
    boundary_unions: Tensor
    """(K,) int64: pixels in the boundary of a class in labels or in predictions."""

    def __init__(self, classes: int, boundary_px: int | None = None):
        """Set the number of classes, and the width of their boundaries in pixels; None counts no boundaries.

        Raises:
            SpecError: if a metric of another package cannot be loaded.
        """
        super().__init__()
        for name in METRICS:
            METRICS.get(name)  # one that cannot be loaded is refused before anything is counted
        self.classes, self.boundary_px = classes, boundary_px
        shapes = {"confusion": (classes, classes), "boundary_intersections": (classes,), "boundary_unions": (classes,)}
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, true: Tensor, counted: Tensor | None = None) -> None:
        """Count windows of class indexes, integers (B, H, W); IGNORE in `true` where there is no label.

        Pixels where `counted` (B, H, W), bool, is False are a halo: neighbours of others, not counted.
        """
        wanted = true if counted is None else true.where(counted, IGNORE)
        self.confusion += multiclass_confusion_matrix(
            predicted, wanted, self.classes, ignore_index=IGNORE, validate_args=False
        )
        if self.boundary_px is not None:
            self._count_boundaries(predicted, true, wanted != IGNORE, self.boundary_px)

    def _count_boundaries(self, predicted: Tensor, true: Tensor, counted: Tensor, reach: int) -> None:
        predicted = predicted.where(true != IGNORE, IGNORE)
        in_labels = find_boundaries(true, reach) & counted
        in_predictions = find_boundaries(predicted, reach) & counted
        both = self._count(true[in_labels & in_predictions & (predicted == true)])
        self.boundary_intersections += both
        self.boundary_unions += self._count(true[in_labels]) + self._count(predicted[in_predictions]) - both

    def _count(self, indexes: Tensor) -> Tensor:
        return torch.bincount(indexes, minlength=self.classes)

    def compute(self) -> Tensor:
        """All counts (K + 2, K), summed over processes: confusion, boundary intersections, boundary unions."""
        return torch.cat((self.confusion, self.boundary_intersections[None], self.boundary_unions[None]))

    def scores(self, names: Sequence[str]) -> Scores:
        """Compute the scores of all pixels counted since the last reset; every process must call it.

        `names` are those of the K classes, in the order of their indexes.
        """
        with warnings.catch_warnings():
            # nothing counted is no mistake: a process may have no window to count
            warnings.filterwarnings("ignore", message="The ``compute`` method")
            counts: Tensor = self.compute()
        return scores_of(counts[:-2], names, counts[-2], counts[-1], boundary_px=self.boundary_px)
