"""Intersection over union."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, of_labelled, or_zero

if TYPE_CHECKING:
    from torch import Tensor


class Iou:
    """Pixels both labelled and predicted as a class, divided by those that are either.

    NaN for a class that is not in the labels: its predicted pixels count as misses of the others.
    """

    words = Wording("IoU", "IoU")
    by_class = True
    over_classes = False
    needs_boundaries = False
    per_epoch = True

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return of_labelled(counts, counts.hits / (counts.predicted + counts.true - counts.hits))


class MeanIou:
    """Mean of the classes' IoU, over the classes that occur in labels."""

    words = Wording(
        "mIoU",
        "mIoU",
        "Area where prediction and label agree, out of the area that either covers; mean of the labelled classes.",
    )
    by_class = False
    over_classes = True
    needs_boundaries = False
    per_epoch = True

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        return or_zero(Iou().figure(counts).nanmean())
