"""MixStyle: windows of a batch take on some of each other's feature statistics while a network is trained.

Zhou, Yang, Qiao and Xiang, "Domain Generalization with MixStyle", ICLR 2021, equations 4 to 6, without domain labels,
with α = 0.1: the weight of a window's own statistics is from Beta(α, α), mostly near 0 or 1. What differs: statistics
are those of pixels with data.

In: a network in training. It is changed by forward hooks alone: nothing happens in evaluation or without gradients,
copies that were made before have no hooks, and the bundle gets none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.data_mask import ROUNDING, holds_data, mask_at, normalized_stand_ins
from geoseg.models.early_stages import early_stages
from geoseg.models.segmentation import SegmentationNetwork

ALPHA = 0.1
"""Parameter of the distribution of weights."""
EPSILON = 1e-6
"""Added to variances."""
LEAST_PX = 2
"""Pixels with data on a map from which a window has statistics."""


class MixStyle:
    """Mixes the statistics of early stages in a share of the batches that a network is trained with."""

    def __init__(self, network: SegmentationNetwork, share: float):
        """Hook a network.

        Raises:
            ModelError: if it has no early stages.
        """
        mean, std = network.normalize.mean.flatten(), network.normalize.std.flatten()
        found = early_stages(network.body, len(mean))
        self._share, self._without = share, normalized_stand_ins(mean, std)
        self._mask: Tensor | None = None
        found.entry.register_forward_pre_hook(self._enter)
        for stage in found.stages:
            stage.module.register_forward_hook(self._leave)

    def _enter(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Draw whether this batch is mixed, and see which of its pixels hold data."""
        self._mask = None
        if module.training and torch.is_grad_enabled() and float(torch.rand(())) < self._share:
            self._mask = holds_data(inputs[0].detach(), self._without.to(inputs[0].device), ROUNDING)

    def _leave(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if self._mask is None or not (module.training and torch.is_grad_enabled()):
            return None
        order = torch.randperm(len(output))
        weights = torch.distributions.Beta(ALPHA, ALPHA).sample((len(output),))
        return mix_style(output, mask_at(self._mask, output.shape[-2:]), order.to(output.device), weights)


def mix_style(values: Tensor, mask: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Features (B, C, h, w) whose mean and standard deviation per window and channel are mixed with those of others.

    Pixels without data stay as they are, and so do windows that have too few with data, or whose partner has.

    Args:
        values: the features.
        mask: which pixels hold data (B, 1, h, w).
        order: the partner of each window (B).
        weights: of its own statistics (B).
    """
    with torch.autocast(values.device.type, enabled=False):
        own = values.float()
        count = mask.sum(dim=(2, 3), keepdim=True)
        with torch.no_grad():
            shown, of_all = own * mask, count.clamp(min=1)
            mean = shown.sum(dim=(2, 3), keepdim=True) / of_all
            variance = ((own - mean) * mask).square().sum(dim=(2, 3), keepdim=True) / of_all
            deviation = (variance + EPSILON).sqrt()
            has_both = (count >= LEAST_PX) & (count >= LEAST_PX)[order]
            weight = weights.to(own).view(-1, 1, 1, 1).where(has_both, 1.0)
            mixed_mean = weight * mean + (1 - weight) * mean[order]
            mixed_deviation = weight * deviation + (1 - weight) * deviation[order]
        mixed = (own - mean) / deviation * mixed_deviation + mixed_mean
        return mixed.to(values.dtype).where(mask & has_both, values)
