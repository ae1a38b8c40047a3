"""Cross-entropy of hard pixels: online hard example mining (Shrivastava et al. 2016), pixel by pixel."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor

from geoseg.losses.pixels import weighted_mean
from geoseg.losses.pixelwise import LabelledPixels, PixelwiseLoss


class Ohem(PixelwiseLoss):
    """Mean cross-entropy of the hard pixels, weighted by class; weights do not affect which pixels are hard."""

    threshold: float = Field(default=0.7, gt=0, le=1)
    """Pixels whose true class has less than this probability are hard."""
    share: float = Field(default=0.0625, gt=0, le=1)
    """Least share of the valid pixels that is kept as hard, the worst ones."""

    def of_pixels(self, pixels: LabelledPixels) -> Tensor:
        """Loss of a batch, a scalar."""
        return weighted_mean(pixels.costs, pixels.weights * self._hard(pixels.costs, pixels.valid))

    @torch.no_grad()
    def _hard(self, costs: Tensor, valid: Tensor) -> Tensor:
        """Mask (B, H, W) of the hard pixels."""
        hard = valid & (costs > -math.log(self.threshold))
        least = math.ceil(self.share * int(valid.sum()))
        if least > int(hard.sum()):
            hard = valid & (costs >= costs[valid].topk(least).values[-1])
        return hard
