"""Files of a prediction as assets: what they are, their bands and values, size and checksum."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.outputs.geotiff import RasterFormat
from geoseg.outputs.stac.model import SHA256_MULTIHASH

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_MEDIA_TYPES = {
    ".tif": _COG,
    ".tiff": _COG,
    ".png": "image/png",
    ".gpkg": "application/geopackage+sqlite3",
    ".geojson": "application/geo+json",
    ".json": "application/geo+json",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".shp": "application/vnd.shp",
    ".pmtiles": "application/vnd.pmtiles",
    ".mbtiles": "application/vnd.sqlite3",
}
"""Media types by the suffix of a result."""
_ANY = "application/octet-stream"
_ASSETS = {
    "landcover": ("data", "Land-cover classes"),
    "polygons": ("data", "Land-cover polygons"),
    "preview": ("thumbnail", "Preview"),
    "scores": ("data", "Probability of every class"),
    "confidence": ("data", "Probability of the chosen class in percent"),
    "uncertainty": ("data", "Uncertainty of the class in percent"),
    "instances": ("data", "Numbers of instances"),
}
"""Role and title of the results that are assets, by kind."""
_MORE_POLYGONS = "polygons_"
"""How kinds of polygons in further formats begin."""
_IN_PERCENT = frozenset({"scores", "confidence", "uncertainty"})
"""Kinds of rasters whose whole numbers are percent."""


@dataclass(frozen=True)
class ResultFile:
    """A finished file of a prediction."""

    path: Path
    """Where it is published."""
    size: int
    """Bytes."""
    sha256: str
    """SHA-256 of its content, in hexadecimal digits."""
    raster: RasterFormat | None = None
    """Type, nodata and bands of a raster on the scene's grid; None for any other file."""

    @classmethod
    def measured(cls, path: Path, draft: Path, raster: RasterFormat | None = None) -> ResultFile:
        """Measure a file that lies as a draft elsewhere until it is published.

        Raises:
            OSError: if it cannot be read.
        """
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path, draft.stat().st_size, digest, raster)


def is_asset(kind: str) -> bool:
    """Whether results of a kind are assets of the Item."""
    return kind in _ASSETS or kind.startswith(_MORE_POLYGONS)


def result_asset(kind: str, file: ResultFile, href: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """A result as an asset.

    Args:
        kind: kind of the result, see `is_asset`.
        file: the file.
        href: relative path or URL.
        place: fields of the projection extension, which rasters get.
    """
    role, title = _ASSETS["polygons" if kind.startswith(_MORE_POLYGONS) else kind]
    asset = {
        "href": href,
        "type": _MEDIA_TYPES.get(file.path.suffix.lower(), _ANY),
        "title": title,
        "roles": [role],
        "file:size": file.size,
        "file:checksum": SHA256_MULTIHASH + file.sha256,
    }
    return asset if file.raster is None else {**asset, **_values(kind, file.raster), **place}


def _values(kind: str, raster: RasterFormat) -> dict[str, Any]:
    """Type, nodata, unit and bands, in STAC's common fields."""
    is_percent = kind in _IN_PERCENT and raster.dtype == "uint8"
    return {
        "data_type": raster.dtype,
        "nodata": _number(raster.nodata),
        **({"unit": "%"} if is_percent else {}),
        "bands": [
            {"name": kind if len(raster.bands) == 1 else name.removesuffix(", percent"), "description": name}
            for name in raster.bands
        ],
    }


def _number(value: float) -> float | str:
    """A number as JSON can hold it."""
    if math.isfinite(value):
        return int(value) if value == int(value) else value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
