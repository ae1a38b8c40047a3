"""How bright the training imagery of a model is, by its colours."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST, MOST_BANDS, Spec

MOST_COLOURS = 64
"""Largest number of colours."""
Log = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
"""A natural logarithm."""
Spread = Annotated[float, Field(gt=0, le=LARGEST)]
"""A distance or deviation of natural logarithms."""


class BrightnessSpec(Spec):
    """How bright the training imagery is, by its colours, on averages over small squares.

    A colour is what a factor common to all bands leaves as it is: the natural logarithm of each band's value less their
    mean over the bands. That mean is the brightness.
    """

    colours: tuple[tuple[Log, ...], ...] = Field(min_length=1, max_length=MOST_COLOURS)
    """The colours of the imagery, each with a number per band."""
    brightness: tuple[Log, ...]
    """Median brightness of the squares of each colour."""
    deviation: tuple[Spread, ...]
    """Standard deviation of their brightness."""
    reach: Spread
    """Farthest distance at which a square counts as having one of the colours."""
    scatter: Spread
    """How much squares of one place usually disagree on how bright it is: median of their mean absolute deviations."""
    variation: Spread
    """How much places of the training imagery differ in brightness: their standard deviation."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len({len(self.colours), len(self.brightness), len(self.deviation)}) > 1:
            raise ValueError("give a brightness and a deviation for each colour")
        if len({len(colour) for colour in self.colours}) > 1 or not 1 < len(self.colours[0]) <= MOST_BANDS:
            raise ValueError("give a number per band for each colour, of two bands at least")
        return self
