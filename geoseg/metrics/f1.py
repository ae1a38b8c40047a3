"""F1, the Dice coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, of_labelled

if TYPE_CHECKING:
    from torch import Tensor


class F1:
    """Harmonic mean of precision and recall; NaN for a class that is not in the labels."""

    words = Wording("F1", "F1", "The harmonic mean of precision and recall.")
    by_class = True
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return of_labelled(counts, 2 * counts.hits / (counts.predicted + counts.true))
