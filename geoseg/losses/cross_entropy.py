"""Cross-entropy."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.pixels import pixel_costs, pixel_weights, weighted_mean


class CrossEntropy(Loss):
    """Mean cross-entropy of the valid pixels, weighted by class."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread uniformly over all classes."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixel_costs(logs, labels)
        if self.label_smoothing:
            costs = (1 - self.label_smoothing) * costs - self.label_smoothing * logs.mean(dim=1)
        return weighted_mean(costs, pixel_weights(labels, class_weights))
