"""Cross-entropy of hard pixels: online hard example mining (Shrivastava et al. 2016), pixel by pixel."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.losses.pixels import pixel_costs, pixel_weights, weighted_mean
from geoseg.spec import IGNORE


class Ohem(Loss):
    """Mean cross-entropy of the hard pixels, weighted by class; weights do not affect which pixels are hard."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    """Pixels whose true class has less than this probability are hard."""
    share: float = Field(default=0.0625, gt=0, le=1)
    """Least share of the valid pixels that is kept as hard, the worst ones."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixel_costs(logs, labels)
        return weighted_mean(costs, pixel_weights(labels, class_weights) * self._hard(costs, labels != IGNORE))

    @torch.no_grad()
    def _hard(self, costs: Tensor, valid: Tensor) -> Tensor:
        """Mask (B, H, W) of the hard pixels."""
        hard = valid & (costs > -math.log(self.threshold))
        least = math.ceil(self.share * int(valid.sum()))
        if least > int(hard.sum()):
            hard = valid & (costs >= costs[valid].topk(least).values[-1])
        return hard
