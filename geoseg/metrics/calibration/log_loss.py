"""Log loss, also called negative log-likelihood: what a temperature minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.calibration.metric import ProbabilityCounts, divide
from geoseg.metrics.metric import Wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LogLoss:
    """Mean of -ln p of the labelled class, a proper score: the true probabilities alone minimise it (Good 1952)."""

    words = Wording(
        "log loss",
        "Log loss",
        "Mean of \N{MINUS SIGN}ln of the labelled class’s probability: it is least for probabilities as they are.",
        also="negative log-likelihood",
    )
    by_class = False

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """A scalar."""
        return divide(counts.log_loss.sum(), counts.true.sum())
