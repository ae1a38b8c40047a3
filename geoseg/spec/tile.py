"""Settings of the cutting of labelled rasters into tiles."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from geoseg.spec.base import Spec

LEAST_PX, MOST_PX = 32, 8192
"""Bounds of a tile's side, in pixels: the smallest training window, and a size that memory holds easily."""


class TileSpec(Spec):
    """How labelled rasters are cut into tiles."""

    size: int = Field(default=256, ge=LEAST_PX, le=MOST_PX)
    """Side of a tile, in pixels; a smaller raster gives a smaller tile."""
    overlap: int = Field(default=0, ge=0, le=MOST_PX)
    """Pixels shared by neighbouring tiles; the last of a row or column ends on the edge and may share more."""
    min_labelled: float = Field(default=0.01, ge=0, le=1)
    """Least share of a tile's pixels that must be labelled."""

    @model_validator(mode="after")
    def _moves_on(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap {self.overlap}: give 0 to {self.size - 1} pixels, less than the size of a tile")
        return self
