"""One minus the Dice overlap."""

from __future__ import annotations

from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.overlap import missing_overlap


class Dice(Loss):
    """One minus the Dice overlap, averaged over the classes in the labels with equal weights."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        return missing_overlap(logs, labels, 0.5, 0.5)
