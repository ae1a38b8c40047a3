"""Settings of the outputs besides the class raster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from geoseg.spec.base import FilePath, Spec


def _listed(value: Any) -> Any:
    """A text with commas as the list that it stands for."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
"""One name or several, as a list or separated by commas."""


class OutputSpec(Spec):
    """Outputs besides the class raster and its styles."""

    dependent: ClassVar[Mapping[str, Sequence[str]]] = {
        "scores": ("scores_type",),
        "uncertainty": ("uncertainty_by",),
        "polygons": ("format",),
    }

    scores: FilePath | None = None
    """Also write per-class probabilities to this GeoTIFF (a folder for several scenes)."""
    scores_type: Literal["float32", "uint8"] = "float32"
    """Type of these probabilities: 0 to 1, or in percent."""
    confidence: FilePath | None = None
    """Also write the probability of the chosen class, in percent, to this GeoTIFF (a folder for several scenes)."""
    uncertainty: FilePath | None = None
    """Also write how uncertain the class of each pixel is, in percent, to this GeoTIFF (a folder for several
    scenes)."""
    uncertainty_by: str = "entropy"
    """Measure of that uncertainty: entropy of the probabilities of all classes, or margin between the two likeliest."""
    polygons: bool = True
    """Write polygons."""
    format: Names = ("gpkg",)
    """Formats of the polygons, by the endings of their files, one or several: gpkg, shp, geojson, fgb, parquet,
    pmtiles, mbtiles."""
    preview: bool = True
    """Write a preview picture (PNG)."""
    stac: bool = True
    """Write a STAC Item (JSON) that describes the result and the model."""
