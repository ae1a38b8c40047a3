"""Focal loss (Lin et al. 2017)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.pixels import TINY, pixel_costs, pixel_weights, weighted_mean


class Focal(Loss):
    """Mean of (1 - p) ** gamma times the cross-entropy, with p the probability of the true class (eq. 4)."""

    gamma: float = Field(default=2.0, ge=0)
    """Focusing parameter: how strongly well-classified pixels are down-weighted."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixel_costs(logs, labels)
        # 1 - p without cancellation, kept off 0, where its power has no derivative for gamma < 1.
        missing = (-torch.expm1(-costs)).clamp(min=TINY)
        return weighted_mean(missing**self.gamma * costs, pixel_weights(labels, class_weights))
