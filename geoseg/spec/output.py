"""Settings of the outputs besides the class raster."""

from __future__ import annotations

from typing import Literal

from geoseg.spec.base import FilePath, Spec


class OutputSpec(Spec):
    """Outputs besides the class raster and its styles."""

    scores: FilePath | None = None
    """Also write per-class probabilities to this GeoTIFF (a folder for several scenes)."""
    scores_type: Literal["float32", "uint8"] = "float32"
    """Type of these probabilities: 0 to 1, or in percent."""
    confidence: FilePath | None = None
    """Also write the probability of the chosen class, in percent, to this GeoTIFF (a folder for several scenes)."""
    polygons: bool = True
    """Write polygons (GeoPackage)."""
    preview: bool = True
    """Write a preview picture (PNG)."""
    stac: bool = True
    """Write a STAC Item (JSON) that describes the result and the model."""
