"""Precision, the user's accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, of_labelled

if TYPE_CHECKING:
    from torch import Tensor


class Precision:
    """Share of the pixels predicted as a class that are labelled as it; NaN for one not labelled or never predicted.

    Maps are assessed with it under the name of user's accuracy: Congalton 1991, "A review of assessing the accuracy of
    classifications of remotely sensed data".
    """

    words = Wording(
        "precision",
        "Precision",
        "Pixels that are right, out of those predicted as the class.",
        also="user’s accuracy",
    )
    by_class = True
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return of_labelled(counts, counts.hits / counts.predicted)
