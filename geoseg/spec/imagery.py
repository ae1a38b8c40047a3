"""What the training imagery of a model looks like: its values, its ground resolution, and the network's features."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST, LARGEST_COUNT, LARGEST_SIZE_M, MOST_BANDS, Spec

MOST_NUMBERS = 4096
"""Most numbers that describe a crop."""
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
"""A value, a mean, or a term of a matrix."""
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
"""A deviation or a distance."""
SizeM = Annotated[float, Field(ge=1 / LARGEST_SIZE_M, le=LARGEST_SIZE_M)]
"""A ground resolution in metres per pixel."""


class SpreadSpec(Spec):
    """Where crops of the training imagery lie, each described by D numbers, and how far away others of its region."""

    mean: tuple[Number, ...] = Field(min_length=1, max_length=MOST_NUMBERS)
    """Mean of each number over the crops (D)."""
    deviation: tuple[Positive, ...]
    """Standard deviation of each number (D)."""
    precision: tuple[Number, ...]
    """Inverse of the shrunk correlation matrix of the numbers: its lower triangle, row by row (D × (D + 1) / 2)."""
    reach: Positive
    """Distance within which 99 of 100 crops lie of places of the training imagery that were left out of the spread."""
    crops: int = Field(ge=1, le=LARGEST_COUNT)
    """Number of crops."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = len(self.mean)
        if len(self.deviation) != count or len(self.precision) != count * (count + 1) // 2:
            raise ValueError("give a deviation for each mean, and the lower triangle of a matrix of as many rows")
        return self


class ImagerySpec(Spec):
    """What the training imagery looks like, by crops that are evenly spread over it."""

    values: tuple[tuple[Number, ...], ...] = Field(min_length=1, max_length=MOST_BANDS)
    """Values of each band, ascending: the mean of each of equally many parts of the pixels with data."""
    resolution_m: tuple[SizeM, SizeM] | None = None
    """Smallest and largest ground resolution of its images in metres per pixel; None where that is unknown."""
    bands: SpreadSpec | None = None
    """Spread of the mean and the standard deviation of each band; None where there are too few crops."""
    features: SpreadSpec | None = None
    """Spread of the network's features; None where there are too few crops, or the network has no features."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(len(band) != len(self.values[0]) or len(band) < 2 for band in self.values):
            raise ValueError("give equally many values for each band, two at least")
        if any(low > high for band in self.values for low, high in pairwise(band)):
            raise ValueError("the values of a band must ascend")
        if self.resolution_m is not None and self.resolution_m[0] > self.resolution_m[1]:
            raise ValueError("the smallest ground resolution must not exceed the largest")
        return self
