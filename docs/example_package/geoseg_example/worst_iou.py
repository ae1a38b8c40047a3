"""IoU of the class that is found worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.iou import Iou
from geoseg.metrics.metric import Counts, Wording

if TYPE_CHECKING:
    from torch import Tensor


class WorstIou:
    """The lowest IoU of the classes that occur in labels or predictions; 0 if none does."""

    words = Wording("worst IoU", "Worst IoU", "IoU of the class that is found worst.")
    by_class = False
    over_classes = True
    needs_boundaries = False
    per_epoch = True

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        found = Iou().figure(counts)
        found = found[~found.isnan()]
        return found.min() if found.numel() else found.sum()
