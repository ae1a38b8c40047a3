"""Matching of moments: mean and standard deviation become those of the reference (Reinhard et al. 2001)."""

from __future__ import annotations

import numpy as np

from geoseg.raster.curves import Curve
from geoseg.raster.distributions import Distribution

_FARTHEST = 10.0
"""Standard deviations from the mean beyond which values count as the farthest."""


class Moments:
    """A gain and an offset per band; a band of one value becomes the reference's mean."""

    words = "mean and spread"

    def curve(self, own: Distribution, reference: Distribution) -> Curve:
        """A straight line, within the limits of the reference."""
        mean, deviation, goal, spread = own.mean, own.deviation, reference.mean, reference.deviation
        if deviation == 0:
            return Curve(np.array([mean]), np.array([goal]))
        ends = np.clip((np.array(reference.limits) - goal) / spread, -_FARTHEST, _FARTHEST)
        return Curve(mean + ends * deviation, goal + ends * spread)


MOMENTS = Moments()
