"""Confidence beyond what is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.calibration.metric import ProbabilityCounts, divide
from geoseg.metrics.metric import Wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Overconfidence:
    """Mean confidence less the share of right pixels; below 0 a model is better than it says."""

    words = Wording(
        "overconfidence",
        "Overconfidence",
        "Mean confidence less the share of pixels that are right; below 0 the model is better than it says.",
    )
    by_class = False

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """A scalar."""
        bins = counts.confidence
        return divide((bins.probability - bins.hits).sum(), bins.pixels.sum())
