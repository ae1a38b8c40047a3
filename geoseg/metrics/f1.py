"""F1, the Dice coefficient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording

if TYPE_CHECKING:
    from torch import Tensor


class F1:
    """Harmonic mean of precision and recall; NaN for a class in neither labels nor predictions."""

    words = Wording("F1", "F1", "The harmonic mean of precision and recall.")
    by_class = True
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return 2 * counts.hits / (counts.predicted + counts.true)
