"""What seams between windows do to the classes of a model, as it was measured when it was trained."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from geoseg.spec.base import LARGEST_TILE, Spec

MOST_CHANGED = 0.003
"""Share of a scene's pixels whose class seams may change, where windows are laid by what was measured."""


class SeamsSpec(Spec):
    """Pixels that get another class than in one pass over all, for each pixel along a seam between two windows."""

    overlaps: tuple[Annotated[int, Field(ge=1, le=LARGEST_TILE)], ...] = Field(min_length=1, max_length=16)
    """Pixels shared by the two windows, rising."""
    changed: tuple[Annotated[float, Field(ge=0, le=LARGEST_TILE)], ...]
    """Pixels that differ for each pixel along the seam, with each overlap."""
    pixels: int = Field(ge=1, le=2**62)
    """Length of the seams that were compared, in pixels."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.overlaps) != len(self.changed):
            raise ValueError(f"{len(self.overlaps)} overlaps, {len(self.changed)} numbers of pixels: give one of each")
        if list(self.overlaps) != sorted(set(self.overlaps)):
            raise ValueError("overlaps must rise")
        return self

    def changed_at(self, overlap: int) -> float:
        """Pixels that differ for each pixel along a seam of an overlap: those of the next smaller one measured.

        Infinite below the smallest.
        """
        known = [changed for px, changed in zip(self.overlaps, self.changed, strict=True) if px <= overlap]
        return known[-1] if known else math.inf
