"""Focal loss (Lin et al. 2017)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from geoseg.losses.pixels import TINY, weighted_mean
from geoseg.losses.pixelwise import LabelledPixels, PixelwiseLoss


class Focal(PixelwiseLoss):
    """Mean of (1 - p) ** gamma times the cross-entropy, with p the probability of the true class (eq. 4)."""

    gamma: float = Field(default=2.0, ge=0)
    """Focusing parameter: how strongly well-classified pixels are down-weighted."""

    def of_pixels(self, pixels: LabelledPixels) -> Tensor:
        """Loss of a batch, a scalar."""
        # 1 - p without cancellation, kept off 0, where its power has no derivative for gamma < 1.
        missing = (-torch.expm1(-pixels.costs)).clamp(min=TINY)
        return weighted_mean(missing**self.gamma * pixels.costs, pixels.weights)
