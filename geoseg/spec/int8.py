"""How a network does with 8-bit integers, as it was measured when it was trained."""

from __future__ import annotations

from pydantic import Field

from geoseg.spec.base import LARGEST_COUNT, Name, Spec

MOST_CHANGE = 0.003
"""Largest change of the mean IoU with which 8-bit integers are taken without being asked for."""


class Int8Spec(Spec):
    """What 8-bit integers change, on windows of the validation side."""

    miou: float = Field(ge=0, le=1)
    """Mean IoU with 8-bit integers."""
    miou_float: float = Field(ge=0, le=1)
    """Mean IoU of the same windows without."""
    agreement: float = Field(ge=0, le=1)
    """Share of their pixels that get the same class."""
    pixels: int = Field(ge=1, le=2**62)
    """Labelled pixels that were compared."""
    windows: int = Field(default=1, ge=1, le=LARGEST_COUNT)
    """Windows of the training side from which ranges were learnt."""
    floats: tuple[Name, ...] = ()
    """Names of convolutions that go on with floats, as integers cost them most."""

    @property
    def fits(self) -> bool:
        """Whether the classes are as good."""
        return abs(self.miou - self.miou_float) <= MOST_CHANGE
