"""The contract of a way to bring values to those of a reference."""

from __future__ import annotations

from typing import Protocol

from geoseg.raster.curves import Curve
from geoseg.raster.distributions import Distribution


class Matching(Protocol):
    """A way to bring the values of one band to those of a reference."""

    words: str
    """What is made equal, for notices, e.g. "mean and spread"."""

    def curve(self, own: Distribution, reference: Distribution) -> Curve:
        """What becomes of a band's values: never descending, within the limits of the reference.

        Args:
            own: the band's values, some of which there are.
            reference: those of the reference, two of which at least differ.
        """
        ...
