"""Cross-entropy."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from geoseg.losses.pixels import weighted_mean
from geoseg.losses.pixelwise import LabelledPixels, PixelwiseLoss


class CrossEntropy(PixelwiseLoss):
    """Mean cross-entropy of the valid pixels, weighted by class.

    With class weights, smoothing differs from that of torch's CrossEntropyLoss, which weighs each class's share of the
    target: of six classes of which the most frequent weighs 0.1 and a rare one 3, its pixels would have a target of a
    third for the rare class at a smoothing of 0.1, and pixels of classes that weigh nothing would teach. Here a pixel's
    target does not depend on the weights, which only say how much the pixel counts. Without weights both are equal.
    """

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the target that is spread uniformly over all classes."""

    def of_pixels(self, pixels: LabelledPixels) -> Tensor:
        """Loss of a batch, a scalar."""
        costs = pixels.costs
        if self.label_smoothing:
            costs = (1 - self.label_smoothing) * costs - self.label_smoothing * pixels.logs.mean(dim=1)
        return weighted_mean(costs, pixels.weights)
