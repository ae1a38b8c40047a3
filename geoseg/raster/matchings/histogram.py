"""Histogram matching: a value becomes that of the same rank in the reference (Gonzalez and Woods 2018, 3.3)."""

from __future__ import annotations

import numpy as np

from geoseg.raster.curves import Curve
from geoseg.raster.distributions import Distribution


class Histogram:
    """The cumulative distribution becomes that of the reference, whatever monotonic curve lies between both.

    A value has the rank of the middle of its pixels. So equal distributions leave all values as they are, and whole
    numbers of the scene may become values between whole numbers of the reference.
    """

    words = "cumulative distribution"

    def curve(self, own: Distribution, reference: Distribution) -> Curve:
        """The values of the same ranks."""
        return Curve(own.values, np.interp(own.ranks, reference.ranks, reference.values))


HISTOGRAM = Histogram()
