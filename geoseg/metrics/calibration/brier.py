"""Brier score (Brier 1950, "Verification of forecasts expressed in terms of probability"), over all classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.calibration.metric import ProbabilityCounts, divide
from geoseg.metrics.metric import Wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class BrierScore:
    """Mean squared distance of the probabilities to what is labelled, summed over the classes: 0 to 2; proper."""

    words = Wording(
        "Brier score",
        "Brier score",
        "Squared distance of the probabilities of all classes to the label, from 0 to 2: right and sure is best.",
    )
    by_class = False

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """A scalar."""
        return divide(counts.squared_error.sum(), counts.true.sum())
