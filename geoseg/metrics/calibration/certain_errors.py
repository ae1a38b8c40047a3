"""Errors that confidence does not point at: those outside of the least certain tenth of the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.metrics.calibration.metric import ProbabilityCounts
from geoseg.metrics.metric import Wording

LEAST_CERTAIN = 0.1
"""Share of the pixels that would be looked at."""


class CertainErrors:
    """Share of the wrong pixels that are not among the tenth of the pixels with the lowest confidence.

    Pixels are known by bins of confidence; within the bin that the tenth ends in, errors count as spread evenly.
    """

    words = Wording(
        "certain errors",
        "Certain errors",
        "Share of the wrong pixels that are not among the least certain tenth of the pixels: 0.9 if confidence says "
        "nothing about errors.",
        also="errors beyond the least certain tenth",
    )
    by_class = False

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """A scalar; 0 where nothing is wrong, NaN where no pixel is counted."""
        pixels = counts.confidence.pixels
        wrong = pixels - counts.confidence.hits
        if not pixels.sum():
            return np.asarray(np.nan)
        before = np.cumsum(pixels) - pixels
        looked_at = np.clip((LEAST_CERTAIN * pixels.sum() - before) / np.maximum(pixels, 1), 0, 1)
        return np.asarray((wrong * (1 - looked_at)).sum() / max(wrong.sum(), 1))
