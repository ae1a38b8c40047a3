"""Thresholds of confidence for each class, above which the same share of its pixels lies.

In: targets, batch by batch. Out: counts of pixels by class and confidence, and quantiles of these.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg.training.perturbations.targets import Targets

BINS = 1000
"""Bins of the histogram of confidences, from 0 to 1."""


def histogram(targets: Targets, classes: int) -> Tensor:
    """Counted pixels of each class by their confidence (K, BINS); one that is no number, as of a network whose loss has
    become none, counts as 0."""
    bins = (targets.confidence * BINS).nan_to_num(nan=0.0).long().clamp(max=BINS - 1)
    return torch.bincount((targets.classes * BINS + bins)[targets.counted], minlength=classes * BINS).view(-1, BINS)


def quantiles(counts: Tensor, below: float) -> Tensor:
    """Confidence of each class (K) that a share of its pixels does not reach, rounded down to a bin; 1 without pixels.

    Args:
        counts: pixels by confidence (K, BINS).
        below: the share.
    """
    sums = counts.cumsum(dim=1)
    reached = sums > below * sums[:, -1:]
    return (reached.int().argmax(dim=1) / BINS).where(reached.any(dim=1), 1.0)
