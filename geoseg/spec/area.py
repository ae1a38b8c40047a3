"""Which part of a raster is meant."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from geoseg.spec.base import FilePath, Spec

Box = tuple[float, float, float, float]


class AreaSpec(Spec):
    """The area of interest."""

    aoi: FilePath | None = None
    """Vector file, in any CRS, whose polygons are the area of interest; nothing outside is read. Where it has several
    layers, FILE|layername=NAME."""
    bbox: Box | None = None
    """Left, bottom, right and top of the area of interest, in the raster's CRS."""

    @model_validator(mode="after")
    def _is_one_area(self) -> Self:
        if self.aoi is not None and self.bbox is not None:
            raise ValueError("both aoi and bbox are given: give one of them")
        if self.bbox is not None and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(
                f"bbox {', '.join(f'{value:g}' for value in self.bbox)} is empty: give left, bottom, right, top"
            )
        return self
