"""What losses share that compare pixel by pixel: costs, what each pixel weighs, and their mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.spec import IGNORE

TINY = 1e-6
"""Least area, in pixels, and least missing probability that is divided by or raised to a power."""


def pixel_costs(logs: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per pixel (B, H, W), 0 where there is no label."""
    return functional.nll_loss(logs, labels, ignore_index=IGNORE, reduction="none")


def pixel_weights(labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """What each pixel weighs (B, H, W): as much as its class, nothing where there is no label."""
    valid = labels != IGNORE
    return valid.float() if class_weights is None else class_weights[labels.where(valid, 0)] * valid


def weighted_mean(costs: Tensor, weights: Tensor) -> Tensor:
    """Mean of the costs; 0 where nothing weighs anything."""
    return (costs * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
