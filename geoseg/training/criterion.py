"""The losses of a training run, also those of an auxiliary head and of the network's own auxiliary outputs.

In: logits and class indexes. Out: scalars. The parameters of the auxiliary head are trained with the network's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from geoseg.data.labels.class_sets import class_sets
from geoseg.losses.combined import SegmentationLoss
from geoseg.models.auxiliary_head import AuxiliaryHead
from geoseg.models.auxiliary_outputs import AuxiliaryOutputs
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import Criterion
from geoseg.spec import LossSpec, TrainSpec

HARD_SHARE = 0.1
"""Least share of the pixels that count as hard; the others have a probability of 0.7 or more of their class."""


class TrainingCriterion(nn.Module):
    """The losses that the settings name; see `geoseg.models.training_batch.Criterion`."""

    def __init__(self, network: SegmentationNetwork, spec: TrainSpec, class_counts: Sequence[float]):
        """Prepare the losses of a network that `build_network` has built.

        Args:
            network: its auxiliary outputs are watched; it gets an auxiliary head on its encoder, if the settings give
                that a weight.
            spec: the settings of the run.
            class_counts: labelled training pixels of each class (K).

        Raises:
            ModelError: if there is to be an auxiliary head, but the network has no encoder.
            SpecError: if a parameter of a loss is invalid.
        """
        super().__init__()
        sets = class_sets(spec.classes, spec.data.class_sets)
        self._loss = SegmentationLoss(spec.loss, class_counts, sets)
        hard = LossSpec(cross_entropy=0, dice=0, ohem=1, ohem_threshold=0.7, ohem_share=HARD_SHARE)
        self._hard_loss = SegmentationLoss(hard, class_counts, sets)
        self._head_weight = spec.loss.auxiliary
        self._auxiliary = [AuxiliaryHead(network, len(spec.classes))] if spec.loss.auxiliary else []
        self.heads = nn.ModuleList(self._auxiliary)
        self._outputs = AuxiliaryOutputs(network.body)
        self._logits_weight = network.body.logits_weight
        self._stage_losses, self._sides = network.body.stage_losses, network.body.sides

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (B, K, h, w) against class indexes (B, h, w)."""
        loss: Tensor = self._loss(logits, labels)
        return loss

    def of_windows(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The same, plus the losses of the auxiliary head, of the network's own auxiliary outputs and of its stages for
        this batch."""
        own = self._outputs.loss(logits, labels, self)
        if own is None:
            loss: Tensor = self(logits, labels)
        else:
            loss = own + self._logits_weight * self(logits, labels) if self._logits_weight else own
        for head in self._auxiliary:
            loss = loss + self._head_weight * self(head.logits(labels.shape[-2:]), labels)
        of_stages = [one.loss(self._sides.padded_labels(labels)) for one in self._stage_losses]
        loss = sum((one for one in of_stages if one is not None), start=loss)
        return loss

    def of_hard_pixels(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of hard pixels."""
        loss: Tensor = self._hard_loss(logits, labels)
        return loss


class JoinedCriterion:
    """The losses of labels, and, for the logits of a batch's windows, another loss as well.

    Branches have losses of other logits, too, as of views; `labels` is what those of the windows are compared with.
    """

    def __init__(
        self, labelled: Criterion, other: Callable[[Tensor], Tensor], labels: Tensor, weights: tuple[float, float]
    ):
        """Join two losses of a batch.

        Args:
            labelled: the losses of labels.
            other: of logits (B, K, h, w), a scalar.
            labels: of the windows (B, h, w).
            weights: of the losses of labels, and of the other.
        """
        self._labelled, self._other, self._labels, self._weights = labelled, other, labels, weights
        self.last: Tensor | None = None
        """The other loss, detached, once it was computed."""

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """Loss of logits (B, K, h, w) against class indexes (B, h, w)."""
        return self._joined(self._labelled(logits, labels), logits, labels)

    def of_windows(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The same, plus the losses of auxiliary outputs for this batch."""
        return self._joined(self._labelled.of_windows(logits, labels), logits, labels)

    def of_hard_pixels(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss of labelled hard pixels."""
        return self._weights[0] * self._labelled.of_hard_pixels(logits, labels)

    def _joined(self, loss: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        loss = self._weights[0] * loss
        if labels is not self._labels:
            return loss
        other = self._other(logits)
        self.last = other.detach()
        return loss + self._weights[1] * other


class KeptLogits:
    """The losses of one batch, which keep the logits of its windows; `labels` is what these are compared with."""

    def __init__(self, criterion: Criterion, labels: Tensor):
        self._criterion, self._labels = criterion, labels
        self._kept: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """Loss of logits (B, K, h, w) against class indexes (B, h, w)."""
        return self._criterion(self._seen(logits, labels), labels)

    def of_windows(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The same, plus the losses of auxiliary outputs for this batch."""
        return self._criterion.of_windows(self._seen(logits, labels), labels)

    def of_hard_pixels(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss of hard pixels."""
        return self._criterion.of_hard_pixels(self._seen(logits, labels), labels)

    def taken(self) -> Tensor:
        """The logits (B, K, h, w)."""
        assert self._kept is not None  # as a network compares them once
        return self._kept

    def _seen(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels is self._labels:
            self._kept = logits
        return logits
