"""Calibration error of each class's probability (Kull et al. 2019, "Beyond temperature scaling", classwise-ECE)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geoseg.metrics.calibration.metric import ProbabilityCounts
from geoseg.metrics.metric import Wording

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ClassCalibrationError:
    """Mean distance of a class's probability, chosen or not, and the share of pixels that are of it.

    NaN for a class that is not in the labels. Pixels where a class is out of the question count, too, so that the error
    of a rare class is small as its share is.
    """

    words = Wording(
        "ECE",
        "ECE",
        "How far a class’s probability is from the share of pixels that are of it, whether it is chosen or not.",
        also="classwise",
    )
    by_class = True

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """(K,) figures."""
        return np.where(counts.true > 0, counts.classes.error, np.nan)
