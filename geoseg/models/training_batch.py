"""What `SegmentationNetwork.training_loss` takes: a batch of labelled windows, and the losses of logits.

Each class of networks computes its own scalar from the two, so that auxiliary outputs (logits of coarser views, of a
refinement module) stay inside that class.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from geoseg.models.surroundings import NO_VIEWS, Views
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class LabelledWindows:
    """A batch of training windows, augmented, and the views of their surroundings."""

    image: Tensor
    """Band values (B, C, S, S), float32."""
    labels: Tensor
    """Class indexes (B, S, S), int64, from K on those of sets of classes; IGNORE where nothing is labelled."""
    views: Views = NO_VIEWS
    """The views of each level; none for a network that sees its windows alone."""
    view_labels: tuple[Tensor, ...] = ()
    """Per level: class indexes of its view's pixels (B, n, n), integers."""
    unlabelled: Tensor = field(default_factory=lambda: torch.tensor(False))
    """Pixels that hold data but no label (B, S, S), bool; one False where a method does not ask for them."""
    plain: Tensor | None = None
    """The windows with their own colours, sharp and without noise (B, C, S, S), float32; None where a method does not
    ask for them."""
    frozen: tuple[Tensor, ...] = ()
    """What frozen parts of the network make of the windows, see `SegmentationNetwork.frozen_outputs`; empty if that has
    not been computed."""

    @property
    def holds_data(self) -> Tensor:
        """Pixels with a label, or marked as having data but none (B, S, S), bool."""
        return (self.labels != IGNORE) | self.unlabelled

    @property
    def in_own_colours(self) -> LabelledWindows:
        """The same windows, with their own colours as their image."""
        assert self.plain is not None  # which the method asks for
        return replace(self, image=self.plain)


class PixelLoss(Protocol):
    """A loss of logits (B, K, h, w) against class indexes (B, h, w), int64; a scalar."""

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss that the settings name."""
        ...


class Criterion(PixelLoss, Protocol):
    """Losses of logits (B, K, h, w) against class indexes (B, h, w), int64; each a scalar."""

    def of_windows(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The same, plus the losses of auxiliary outputs for this batch: of the auxiliary head, and of the network's
        own; with each, if there is one."""
        ...

    def of_hard_pixels(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss of hard pixels alone: those that are not classified correctly with a high probability."""
        ...
