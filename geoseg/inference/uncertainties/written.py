"""The uncertainty of each pixel as whole numbers, as rasters hold it.

In: logarithms of the probabilities of all classes. Out: uncertainty in percent, or finer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.core.errors import SpecError
from geoseg.inference.uncertainties import UNCERTAINTIES
from geoseg.inference.uncertainties.uncertainty import PixelUncertainty
from geoseg.spec import NODATA_ID, OutputSpec


@dataclass(frozen=True)
class Unit:
    """A unit of uncertainty, and the whole numbers in it."""

    name: str
    """Its name in the description of a band."""
    one: int
    """The number that stands for 1."""
    dtype: torch.dtype
    """Type of the numbers."""
    nodata: int
    """The number of pixels without data."""


PERCENT = Unit("percent", 100, torch.uint8, NODATA_ID)
"""For people, and as fine as confidence."""
TEN_THOUSANDTHS = Unit("ten-thousandths", 10_000, torch.int16, -1)
"""For a ranking, in which windows that are almost certain differ too."""


@dataclass(frozen=True)
class WrittenUncertainty:
    """A measure of uncertainty, and the unit in which it is written."""

    by: str
    """Name of the measure."""
    of_probabilities: PixelUncertainty
    """What gives it."""
    unit: Unit
    """The unit."""

    @property
    def name(self) -> str:
        """What is written, in words."""
        return f"uncertainty by {self.by} in {self.unit.name}"

    def of(self, log_probabilities: Tensor) -> Tensor:
        """Uncertainty (h, w) in whole units, given the logarithms of probabilities (K, h, w).

        It is 0 where there is no number, which only pixels without data have.
        """
        values = self.unit.one * self.of_probabilities(log_probabilities)
        return values.nan_to_num_(0).round_().clamp_(0, self.unit.one).to(self.unit.dtype)


def written_uncertainty(spec: OutputSpec) -> WrittenUncertainty | None:
    """What gives the raster of uncertainty that is to be written beside the classes; None if none is.

    Raises:
        SpecError: if there is no such measure, or it takes several passes over a scene.
    """
    if spec.uncertainty is None:
        return None
    by = spec.uncertainty_by
    found = UNCERTAINTIES.get(by).of_probabilities
    if found is None:
        raise SpecError(
            f"uncertainty by {by} takes several passes over a scene, predict makes one: take entropy or margin, or "
            f"rank places by it: geoseg suggest --by {by}"
        )
    return WrittenUncertainty(by, found, PERCENT)
