"""Accuracy: of all pixels, and the mean of the classes' recall.

Long et al. 2015, "Fully Convolutional Networks", section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, or_zero
from geoseg.metrics.recall import Recall

if TYPE_CHECKING:
    from torch import Tensor


class PixelAccuracy:
    """Share of the labelled pixels whose class was predicted."""

    words = Wording("pixel accuracy", "Pixel accuracy", "Pixels that got their class, out of all labelled ones.")
    by_class = False
    over_classes = False
    needs_boundaries = False
    per_epoch = True

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        return or_zero(counts.hits.sum() / counts.confusion.sum())


class MeanClassAccuracy:
    """Mean of the classes' recall, over the classes that occur in labels."""

    words = Wording(
        "mean class accuracy", "Mean class accuracy", "Pixels of a class that were found; mean of the classes."
    )
    by_class = False
    over_classes = True
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        return or_zero(Recall().figure(counts).nanmean())
