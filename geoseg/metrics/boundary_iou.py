"""Boundary IoU (Cheng et al. 2021, "Boundary IoU", eq. 2); `geoseg.metrics.boundaries` finds the boundaries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, of_labelled

if TYPE_CHECKING:
    from torch import Tensor


class BoundaryIou:
    """IoU of the pixels near a class's contour; NaN for a class without one, or not in the labels."""

    words = Wording("boundary IoU", "Boundary IoU")
    by_class = True
    over_classes = False
    needs_boundaries = True
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return of_labelled(counts, counts.boundary_intersections / counts.boundary_unions)


class MeanBoundaryIou:
    """Mean of the classes' boundary IoU; NaN where no class has a boundary."""

    words = Wording(
        "boundary mIoU ({px} px)",
        "Boundary mIoU",
        "As mIoU, but only within {px}\u00a0px of outlines: are they in the right place?",
    )
    by_class = False
    over_classes = True
    needs_boundaries = True
    per_epoch = True

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        return BoundaryIou().figure(counts).nanmean()
