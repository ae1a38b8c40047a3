"""Frequency-weighted IoU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.iou import Iou
from geoseg.metrics.metric import Counts, Wording, or_zero

if TYPE_CHECKING:
    from torch import Tensor


class FrequencyWeightedIou:
    """Mean of the classes' IoU, weighted by their share of the labelled pixels.

    Long et al. 2015, "Fully Convolutional Networks", section 5.
    """

    words = Wording("frequency-weighted IoU", "Weighted IoU", "As mIoU, but large classes count for more.")
    by_class = False
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        return or_zero((counts.true * Iou().figure(counts)).nansum() / counts.confusion.sum())
