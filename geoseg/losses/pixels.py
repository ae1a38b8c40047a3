"""Common parts of losses that compare pixel by pixel: costs, weights, and their weighted mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.spec import IGNORE

TINY = 1e-6
"""Least area, in pixels, and least missing probability that is divided by or raised to a power."""


def pixel_costs(logs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per pixel (B, H, W); 0 where there is no label."""
    return functional.nll_loss(logs, labels, ignore_index=IGNORE, reduction="none")


def pixel_weights(labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """Weight of each pixel (B, H, W): that of its class, 0 where there is no label."""
    valid = labels != IGNORE
    return valid.float() if class_weights is None else class_weights[labels.where(valid, 0)] * valid


def weighted_mean(costs: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of the costs, a scalar; 0 if all weights are 0."""
    return (costs * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
