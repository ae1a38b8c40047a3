"""Poly-1 loss (Leng et al. 2022): cross-entropy with more weight on the first term of its series."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.pixels import pixel_costs, pixel_weights, weighted_mean


class Poly(Loss):
    """Mean of cross-entropy + epsilon · (1 - p), p being the true class's probability."""

    epsilon: float = Field(default=1.0, ge=0)
    """Weight of the first term beyond that which cross-entropy gives it."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixel_costs(logs, labels)
        return weighted_mean(costs + self.epsilon * (1 - (-costs).exp()), pixel_weights(labels, class_weights))
