"""What is written besides the class raster."""

from __future__ import annotations

from typing import Literal

from geoseg.spec.base import FilePath, Spec


class OutputSpec(Spec):
    """What is written besides the class raster and its styles."""

    scores: FilePath | None = None
    """Write per-class probabilities to this GeoTIFF."""
    scores_type: Literal["float32", "uint8"] = "float32"
    """Type of these probabilities: 0 to 1, or in percent."""
    confidence: FilePath | None = None
    """Write the probability of the chosen class, in percent, to this GeoTIFF."""
    polygons: bool = True
    """Write polygons as a GeoPackage."""
    preview: bool = True
    """Write a preview picture."""
    stac: bool = True
    """Write a STAC Item that describes the result and the model."""
