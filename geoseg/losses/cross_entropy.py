"""Cross-entropy."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.pixels import pixel_costs, pixel_weights, weighted_mean


class CrossEntropy(Loss):
    """Mean cross-entropy of the valid pixels, weighted by class.

    With class weights, smoothing differs from that of torch's CrossEntropyLoss, which weighs each class's share of the
    target: of six classes of which the most frequent weighs 0.1 and a rare one 3, its pixels would have a target of a
    third for the rare class at a smoothing of 0.1, and pixels of classes that weigh nothing would teach. Here a pixel's
    target does not depend on the weights, which only say how much the pixel counts. Without weights both are equal.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread uniformly over all classes."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixel_costs(logs, labels)
        if self.label_smoothing:
            costs = (1 - self.label_smoothing) * costs - self.label_smoothing * logs.mean(dim=1)
        return weighted_mean(costs, pixel_weights(labels, class_weights))
