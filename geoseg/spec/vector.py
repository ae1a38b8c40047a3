"""Settings of the generalisation of class rasters, and of polygons."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from geoseg.spec.area import AreaSpec
from geoseg.spec.base import Spec
from geoseg.spec.combined import CombinedSpec
from geoseg.spec.legend import LegendSpec
from geoseg.spec.output import Names

PX = "px"
"""Unit of a length or an area that is given in pixels."""


def _measured(value: Any) -> float | str:
    """A length or an area: a positive number, or a text that ends in px."""
    text = str(value).strip()
    try:
        size = float(text.removesuffix(PX))
    except ValueError:
        raise ValueError("give a number of metres or square metres without a unit, or of pixels, e.g. 4px") from None
    if not 0 < size < math.inf:
        raise ValueError("give a number above 0")
    return f"{size:g}{PX}" if text.endswith(PX) else size


Measure = Annotated[float | str, BeforeValidator(_measured)]
"""A positive number of metres or square metres, or of pixels: 2.5, or 4px."""


Split = Literal["distance", "confidence"]
"""Landscapes by which a watershed splits regions."""


class GeneralizeSpec(Spec):
    """How a class raster is generalised after classification."""

    majority: int | None = Field(default=None, ge=3, le=31)
    """Majority filter: give each pixel the most frequent class in the square of this many pixels a side centred on it;
    an odd number, e.g. 3."""
    fill_holes: Measure | None = None
    """Fill holes smaller than this, in m², or in pixels (9px): areas that one region encloses, with or without
    data."""
    min_area: Measure | None = None
    """Minimum mapping unit: merge regions smaller than this, in m², or in pixels (9px), into the neighbour with which
    they share the longest border."""

    @model_validator(mode="after")
    def _is_odd(self) -> Self:
        if self.majority is not None and self.majority % 2 == 0:
            raise ValueError(f"majority {self.majority} is even: give an odd number, e.g. {self.majority + 1}")
        return self

    @property
    def generalizes(self) -> bool:
        """Whether any setting changes the class raster."""
        return any(getattr(self, name) is not None for name in GeneralizeSpec.model_fields)

    @property
    def generalization(self) -> GeneralizeSpec:
        """The settings that change the class raster, without those of polygons."""
        return GeneralizeSpec(**{name: getattr(self, name) for name in GeneralizeSpec.model_fields})


class VectorSpec(GeneralizeSpec):
    """How a class raster is generalised and written as polygons."""

    simplify: Measure | None = None
    """Leave out vertices as long as all of them stay nearer than this to the border, in metres, or in pixels (1px).
    Neighbours keep a common border."""
    smooth: bool = False
    """Round the corners of polygons. Neighbours keep a common border."""
    connectivity: Literal[4, 8] = 4
    """8: regions of a class that touch at a corner are one multipolygon."""
    classes: tuple[str, ...] | None = None
    """Names or ids of the classes that become polygons; None means all."""
    dissolve: bool = False
    """One multipolygon for each class."""
    to_crs: str | None = None
    """Coordinate system of the polygons, e.g. EPSG:4326; None means the raster's."""
    embed_style: bool = False
    """Also store the style inside a GeoPackage, in a table that some programs list as a second layer."""
    instances: Names | None = None
    """Names or ids of classes whose regions are numbered as instances: polygons get an instance_id, and a raster of
    these numbers is written, too."""
    split_instances: Split | None = None
    """Split regions of several objects by a watershed, on the distance to their border or on the confidence; None means
    that they stay whole."""
    split_depth: float | None = Field(default=None, gt=0, le=10_000)
    """How far the middle of each piece must rise above the narrows between it and the next, in pixels of distance or in
    percent of confidence; None means 1 pixel, or 10 percent."""

    @model_validator(mode="after")
    def _keeps_instances_apart(self) -> Self:
        if self.dissolve and self.instances is not None:
            raise ValueError("dissolve makes one feature of each class, instances many: leave one of them out")
        if self.instances is None and (self.split_instances or self.split_depth) is not None:
            raise ValueError("only instances are split: name their classes (instances)")
        if self.split_instances is None and self.split_depth is not None:
            raise ValueError("split_depth says how regions are split: choose distance or confidence (split_instances)")
        return self

    @property
    def of_generalized_raster(self) -> VectorSpec:
        """The settings that remain once the raster is generalised."""
        return self.model_copy(update=dict.fromkeys(GeneralizeSpec.model_fields))


class VectorizeSpec(CombinedSpec):
    """How a class raster, or a part of it, is generalised and written as polygons."""

    vector: VectorSpec = VectorSpec()
    """Generalisation and polygons."""
    area: AreaSpec = AreaSpec()
    """The part of the raster."""
    names: LegendSpec = LegendSpec()
    """Names and colours of its classes."""
