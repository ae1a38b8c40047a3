"""The area of interest in a raster."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from geoseg.spec.base import FilePath, Spec

Box = tuple[float, float, float, float]


class AreaSpec(Spec):
    """The area of interest in a raster; the whole raster if neither is given."""

    aoi: FilePath | None = None
    """Area of interest: the polygons of a vector file in any CRS, FILE|layername=NAME where it has several layers;
    nothing outside is read."""
    bbox: Box | None = None
    """Left, bottom, right and top of the area of interest, in the raster's CRS; nothing outside is read."""

    @model_validator(mode="after")
    def _is_one_area(self) -> Self:
        if self.aoi is not None and self.bbox is not None:
            raise ValueError("both aoi and bbox are given: give one of them")
        if self.bbox is not None and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(
                f"bbox {', '.join(f'{value:g}' for value in self.bbox)} is empty: give left, bottom, right, top"
            )
        return self
