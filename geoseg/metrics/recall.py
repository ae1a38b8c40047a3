"""Recall, the producer's accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording

if TYPE_CHECKING:
    from torch import Tensor


class Recall:
    """Share of a class's labelled pixels that were predicted as it; NaN for a class not in the labels.

    Maps are assessed with it under the name of producer's accuracy: Congalton 1991, "A review of assessing the accuracy
    of classifications of remotely sensed data".
    """

    words = Wording(
        "recall", "Recall", "Pixels that were found, out of those labelled as the class.", also="producer’s accuracy"
    )
    by_class = True
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return counts.hits / counts.true
