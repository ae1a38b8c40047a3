"""Generalised cross-entropy (Zhang & Sabuncu 2018), for labels of which some are wrong."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from geoseg.losses.pixels import weighted_mean
from geoseg.losses.pixelwise import LabelledPixels, PixelwiseLoss


class GeneralizedCrossEntropy(PixelwiseLoss):
    """Mean of (1 - p ** q) / q, with p the probability of the labelled class (eq. 6), weighted by class.

    Pixels whose label the network finds unlikely weigh p ** q times as much as in cross-entropy, which it becomes as q
    approaches 0; at q = 1 it is the mean absolute error, which no label can raise above 1, but which learns slowly.
    """

    q: float = Field(default=0.7, gt=0, le=1)
    """Exponent: the larger, the less wrong labels teach."""

    def of_pixels(self, pixels: LabelledPixels) -> Tensor:
        """Loss of a batch, a scalar."""
        # 1 - p ** q without cancellation where p is near 1.
        return weighted_mean(-torch.expm1(-self.q * pixels.costs) / self.q, pixels.weights)
