"""Cohen's kappa."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.metric import Counts, Wording, or_zero

if TYPE_CHECKING:
    from torch import Tensor


class Kappa:
    """Agreement beyond chance; 0 where a single class leaves nothing to chance.

    Cohen 1960, "A coefficient of agreement for nominal scales", eq. 1, of a confusion matrix.
    """

    words = Wording("kappa", "Cohen’s kappa", "Agreement beyond chance: 0 is what guessing would give.")
    by_class = False
    over_classes = False
    needs_boundaries = False
    per_epoch = False

    def figure(self, counts: Counts) -> Tensor:
        """A scalar."""
        shares = counts.confusion / counts.confusion.sum()
        observed, expected = shares.trace(), shares.sum(dim=0) @ shares.sum(dim=1)
        return or_zero((observed - expected) / (1 - expected))
