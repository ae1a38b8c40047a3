"""Precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording

if TYPE_CHECKING:
    from torch import Tensor


class Precision:
    """Share of the pixels predicted as a class that are labelled as it; NaN for a class never predicted."""

    words = Wording("precision", "Precision")
    by_class = True
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """(K,) figures."""
        return counts.hits / counts.predicted
