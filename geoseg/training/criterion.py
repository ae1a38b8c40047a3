"""By what a network's answers are judged in training: the losses that the settings name, also on a second head.

In: logits and class indexes. Out: scalars. It has the second head's parameters, which are trained with the network's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geoseg.losses.combined import SegmentationLoss
from geoseg.models.auxiliary_head import AuxiliaryHead
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.spec import LossSpec, TrainSpec

HARD_SHARE = 0.1
"""Least share of the pixels that count as hard; others are right with a probability of 0.7."""


class TrainingCriterion(nn.Module):
    """The losses of a run; see `models.learning.Criterion`."""

    def __init__(self, network: SegmentationNetwork, spec: TrainSpec, class_counts: Sequence[float]):
        """Prepare the losses of a network as `build_network` makes it.

        Args:
            network: whose encoder the second head listens to, if the settings give it a weight.
            spec: the settings of the run.
            class_counts: labelled pixels of each class to learn from.

        Raises:
            ModelError: if a second head is wanted, but the network has no encoder.
            SpecError: if a parameter of a loss makes no sense.
        """
        super().__init__()
        self._loss = SegmentationLoss(spec.loss, class_counts)
        hard = LossSpec(cross_entropy=0, dice=0, ohem=1, ohem_threshold=0.7, ohem_share=HARD_SHARE)
        self._hard_loss = SegmentationLoss(hard, class_counts)
        self._head_weight = spec.loss.auxiliary
        self._listeners = [AuxiliaryHead(network, len(spec.classes))] if spec.loss.auxiliary else []
        self.heads = nn.ModuleList(self._listeners)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) against class indexes (B, h, w)."""
        loss: Tensor = self._loss(logits, labels)
        return loss

    def of_windows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The same, and the loss of the second head on what the encoder saw last."""
        loss: Tensor = self(logits, labels)
        for head in self._listeners:
            loss = loss + self._head_weight * self(head.logits(labels.shape[-2:]), labels)
        return loss

    def of_hard_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of hard pixels."""
        loss: Tensor = self._hard_loss(logits, labels)
        return loss
