"""Common part of losses that compare the areas of classes: the Tversky index (Salehi et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg.losses.pixels import TINY
from geoseg.spec import IGNORE


def missing_overlap(logs: Tensor, labels: Tensor, alpha: float, beta: float) -> Tensor:
    """One minus TP / (TP + alpha FP + beta FN), averaged over the classes in the labels (eq. 3); a scalar.

    The batch is counted as a whole. alpha = beta = 0.5 is the Dice overlap, 1 the Jaccard overlap. Classes that are
    not in the labels are left out: smp's DiceLoss averages over them too, which dilutes rare ones in small batches.
    """
    shares, valid = logs.exp(), (labels != IGNORE).unsqueeze(1)
    classes = torch.arange(logs.shape[1], device=labels.device).view(1, -1, 1, 1)
    truth = labels.unsqueeze(1) == classes  # (B, K, H, W); IGNORE is no class
    hits, predicted, pixels = (part.sum(dim=(0, 2, 3)) for part in (shares * truth, shares * valid, truth))
    wrong, missed = predicted - hits, pixels - hits
    overlaps = hits / (hits + alpha * wrong + beta * missed).clamp(min=TINY)
    present = pixels > 0
    return ((1 - overlaps) * present).sum() / present.sum().clamp(min=1)
