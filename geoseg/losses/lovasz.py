"""Lovász-softmax (Berman et al. 2018)."""

from __future__ import annotations

from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor

from geoseg.losses.loss import Loss
from geoseg.spec import IGNORE


class Lovasz(Loss):
    """Lovász-softmax over the batch as a whole, averaged over the classes in the labels with equal weights."""

    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""
        if not (labels != IGNORE).any():
            return logs.sum() * 0  # smp's gives an empty tensor
        loss: Tensor = LovaszLoss(mode="multiclass", ignore_index=IGNORE)(logs, labels)
        return loss
