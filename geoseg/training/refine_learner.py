"""How a network that refines learns: to tell classes at every resolution, and to settle between two of them.

In: windows and the coarser views around them, varied. Out: the loss. Both parts learn in the same steps: the network
from windows and views alike, and the refinement module from what the running mean of the network tells, as MagNet
trains it on a network that stands still.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.losses.combined import SegmentationLoss
from geoseg.models.context import Views
from geoseg.models.refine import RefiningSegmenter, Told, refine_steps
from geoseg.spec import LossSpec

HARD_SHARE = 0.1
"""Least share of the pixels from which the refinement module learns; others are right with a probability of 0.7."""


class RefineLessons(nn.Module):
    """What a network that refines is taught."""

    def __init__(self, network: RefiningSegmenter, loss: SegmentationLoss, class_counts: Sequence[float]):
        super().__init__()
        self._network = (network,)  # in a tuple it is no further child
        self._loss = (loss,)
        hard = LossSpec(cross_entropy=0, dice=0, ohem=1, ohem_threshold=0.7, ohem_share=HARD_SHARE)
        self._hard_loss = SegmentationLoss(hard, class_counts)

    def loss(
        self,
        image: Tensor,
        views: Views,
        labels: Sequence[Tensor],
        kept: RefiningSegmenter,
        generator: torch.Generator,
    ) -> Tensor:
        """Loss of windows (B, C, n, n) and views (B, C + 1, n, n).

        Args:
            image: the windows.
            views: what lies around them.
            labels: class indexes (B, n, n) of the windows, then of each view.
            kept: the running mean of the network.
            generator: draws the parts from which the refinement module learns.
        """
        network, count = self._network[0], len(labels)
        shown = torch.cat([image, *(fill_gaps(view, network.normalize.mean) for view in views.images)])
        shown = shown.contiguous(memory_format=torch.channels_last)
        total = image.new_zeros(())
        if not network.refine.spec.freeze_local:
            logits = network(shown).chunk(count)
            total = total + torch.stack([self._loss[0](*pair) for pair in zip(logits, labels, strict=True)]).mean()
        with torch.no_grad():
            probabilities = kept(shown).float().softmax(dim=1).chunk(count)
        told = Told(tuple(probabilities), tuple(labels), views.boxes)
        steps = refine_steps(network.refine, told, generator)
        return total + torch.stack([self._hard_loss(step.logits, step.labels) for step in steps]).mean()


def fill_gaps(view: Tensor, mean: Tensor) -> Tensor:
    """Band values of a view (B, C + 1, n, n); what holds no data gets each band's mean (C, 1, 1)."""
    return torch.where(view[:, -1:] > 0, view[:, :-1], mean)
