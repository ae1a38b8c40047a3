"""Losses that compare pixel by pixel, given the cross-entropy of each: of its class, or of a set of classes.

In: logarithms of class probabilities, and labels. Out: a scalar. The probability of a set is the sum of its classes'.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.losses.loss import ClassSets, Loss
from geoseg.losses.pixels import pixel_costs, pixel_weights
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class LabelledPixels:
    """What a loss knows of the pixels of a batch."""

    logs: Tensor
    """Logarithms of the class probabilities (B, K, H, W)."""
    costs: Tensor
    """Cross-entropy (B, H, W): minus the logarithm of the probability of the label; 0 where there is none."""
    weights: Tensor
    """Weight of each pixel (B, H, W): that of its class, or the mean of those of its set; 0 where there is no label."""
    valid: Tensor
    """Which pixels are labelled (B, H, W)."""


class PixelwiseLoss(Loss):
    """A loss of the cross-entropy of each pixel."""

    @abstractmethod
    def of_pixels(self, pixels: LabelledPixels) -> Tensor:
        """Loss of a batch, a scalar."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        costs, weights = pixel_costs(logs, labels), pixel_weights(labels, class_weights)
        return self.of_pixels(LabelledPixels(logs, costs, weights, labels != IGNORE))

    def of_sets(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None, sets: ClassSets) -> Tensor:
        """Loss of a batch whose labels may be sets of classes, a scalar: a pixel's set is as a class of its own."""
        joint = [logs[:, list(one)].logsumexp(dim=1).clamp(max=0) for one in sets]
        costs = pixel_costs(torch.cat([logs, torch.stack(joint, dim=1)], dim=1), labels)
        if class_weights is not None:
            class_weights = torch.cat([class_weights, *(class_weights[list(one)].mean().view(1) for one in sets)])
        return self.of_pixels(LabelledPixels(logs, costs, pixel_weights(labels, class_weights), labels != IGNORE))
