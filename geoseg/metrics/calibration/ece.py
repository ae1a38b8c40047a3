"""Expected calibration error of the chosen class.

Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from geoseg.metrics.calibration.metric import BINS, ProbabilityCounts
from geoseg.metrics.metric import Wording

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ExpectedCalibrationError:
    """Mean distance of confidence and share of right pixels, over bins of confidence, by their pixels."""

    words = Wording(
        "ECE",
        "ECE",
        f"How far a confidence is from the share of pixels that are right; mean over {BINS} bins of equal width.",
        also="expected calibration error",
    )
    by_class = False

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """A scalar."""
        return counts.confidence.error
