"""A finished prediction as a STAC Item: footprint, files, classes, the model and the scene.

In: a `Prediction`. Out: the Item as a dict for `json.dump`, after STAC 1.1.0 with the extensions projection 2.0,
classification 2.0, processing 1.1 and MLM (machine-learning model) 1.4. Reads and writes no files.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from geoseg.core.redaction import public_form
from geoseg.core.version import __version__
from geoseg.geo.antimeridian import split_at_180
from geoseg.geo.georef import PixelGrid
from geoseg.spec import ClassSpec, ModelSpec

__all__ = ["Prediction", "landcover_item"]

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"

_COG = "image/tiff; application=geotiff; profile=cloud-optimized"
_ASSETS = {
    "landcover": (_COG, "data", "Land-cover classes"),
    "polygons": ("application/geopackage+sqlite3", "data", "Land-cover polygons"),
    "preview": ("image/png", "thumbnail", "Preview"),
    "scores": (_COG, "data", "Probability of every class"),
    "confidence": (_COG, "data", "Probability of the chosen class in percent"),
}
"""Media type, role and title of the files of a prediction."""
_COMMON_BANDS = frozenset({"coastal", "blue", "green", "red", "rededge", "nir", "nir08", "nir09", "swir16", "swir22"})
"""Names of bands that are common names in the eo extension, too."""

_EDGE_POINTS = 32
"""Points along each side of a scene's outline, for straight sides bend on the way to longitude and latitude."""
_OUTLINE_TOLERANCE = 1e-4
"""Largest deviation of the outline, as a share of its length."""
_DIGITS = 9
"""Decimals of a degree: a tenth of a millimetre."""


@dataclass(frozen=True)
class Prediction:
    """A finished prediction, as its Item describes it."""

    name: str
    """Name of the scene."""
    scene: str
    """Path or URL of the scene."""
    grid: PixelGrid
    """Size, transform and CRS of the scene and of the class raster."""
    datetime: datetime
    """Acquisition time of the scene, as far as known; in UTC if it has no time zone."""
    model: ModelSpec
    """The model that made it."""
    paths: Mapping[str, Path]
    """Files by kind: landcover, and those of polygons, preview, scores and confidence that were written."""
    model_path: str | None = None
    """Path or URL of the bundle, if it has one."""


def landcover_item(prediction: Prediction) -> dict[str, Any]:
    """The STAC Item of a prediction, to be written beside the class raster, to which its paths are relative.

    Geometry is null and bbox absent where the scene's coordinates cannot be converted to longitude and latitude.
    """
    footprint = _footprint(prediction.grid)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJECTION, CLASSIFICATION, PROCESSING],
        "id": f"{prediction.name}_landcover",
        "geometry": None if footprint is None else _rounded(mapping(_within_180(footprint))),
        "properties": _properties(prediction),
        "links": [{"rel": "derived_from", "href": _href(prediction.scene, prediction), "title": "Scene"}],
        "assets": _assets(prediction),
    }
    if footprint is not None:
        item["bbox"] = _rounded(_bbox(footprint))
    if prediction.model_path is not None:  # without the model itself the MLM fields are no valid description of one
        item["stac_extensions"] += [EO, MLM]
    return item


def _properties(prediction: Prediction) -> dict[str, Any]:
    taken = prediction.datetime if prediction.datetime.tzinfo else prediction.datetime.replace(tzinfo=UTC)
    return {
        "datetime": taken.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "title": f"Land cover of {prediction.name}",
        "processing:level": "L4",
        "processing:software": {"geoseg": __version__},
        **_projection(prediction.grid),
        **_model_fields(prediction.model),
    }


# ------------------------------------------------------------------------------------------------------------- place


def _projection(grid: PixelGrid) -> dict[str, Any]:
    """Fields of the projection extension: a code where there is one, else WKT."""
    fields: dict[str, Any] = {"proj:shape": [grid.height, grid.width]}
    if grid.is_georeferenced:
        fields["proj:transform"] = list(grid.transform)[:6]
    crs = _known_crs(grid)
    authority = crs.to_authority() if crs else None
    fields["proj:code"] = ":".join(authority) if authority else None
    if crs is not None and authority is None:
        fields["proj:wkt2"] = crs.to_wkt()
    return fields


def _known_crs(grid: PixelGrid) -> CRS | None:
    try:
        return CRS.from_user_input(grid.crs) if grid.crs and grid.is_georeferenced else None
    except ProjError:
        return None


def _footprint(grid: PixelGrid) -> BaseGeometry | None:
    """Outline of the scene in longitude and latitude, continued beyond 180° in one piece; None if it is unknown."""
    crs = _known_crs(grid)
    if crs is None:
        return None
    try:
        lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*_outline(grid))
    except ProjError:
        return None
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    outline = shapely.make_valid(Polygon(_closed_over_pole(np.unwrap(lon, period=360), lat)))
    west, south, east, north = outline.bounds
    return outline.simplify(_OUTLINE_TOLERANCE * max(east - west, north - south))


def _outline(grid: PixelGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """CRS coordinates (V,), (V,) of points along the scene's edge; the last is the first again."""
    along = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    low, high = np.zeros(_EDGE_POINTS), np.ones(_EDGE_POINTS)
    columns = np.concatenate([low, along, high, 1 - along, [0]]) * grid.width
    rows = np.concatenate([along, high, 1 - along, low, [0]]) * grid.height
    t = grid.transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def _closed_over_pole(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ring (V, 2) of an unwrapped outline; one that runs round the earth is closed over the pole it encloses."""
    ring = np.column_stack([lon, lat])
    if abs(lon[-1] - lon[0]) < 180:
        return ring
    pole = np.copysign(90.0, lat.mean())
    return np.concatenate([ring, [(lon[-1], pole), (lon[0], pole)]])


def _within_180(footprint: BaseGeometry) -> Polygon | MultiPolygon:
    """Wrap longitudes to -180 to 180, cutting at the antimeridian (RFC 7946, section 3.1.9)."""
    cut = split_at_180(np.array([footprint], object))[0]
    parts = [orient(part) for part in shapely.get_parts(cut) if isinstance(part, Polygon)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


def _bbox(footprint: BaseGeometry) -> list[float]:
    """West, south, east, north; west is greater than east where the scene crosses 180° (RFC 7946, section 5.2)."""
    west, south, east, north = footprint.bounds
    if east - west >= 360:
        return [-180.0, south, 180.0, north]
    return [(west + 180) % 360 - 180, south, 180 - (180 - east) % 360, north]


def _rounded(value: Any) -> Any:
    """GeoJSON with lists for tuples, rounded to significant decimals."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(inner) for inner in value]
    return round(value, _DIGITS) if isinstance(value, float) else value


# ------------------------------------------------------------------------------------------------------------- files


def _assets(prediction: Prediction) -> dict[str, Any]:
    assets: dict[str, Any] = {}
    for kind, (media_type, role, title) in _ASSETS.items():
        if kind in prediction.paths:
            href = _href(str(prediction.paths[kind]), prediction)
            assets[kind] = {"href": href, "type": media_type, "title": title, "roles": [role]}
    assets["landcover"]["classification:classes"] = _classes(prediction.model.classes)
    if prediction.model_path is not None:
        assets["model"] = _model_asset(prediction.model, _href(prediction.model_path, prediction))
    return assets


def _href(path: str, prediction: Prediction) -> str:
    """A URL without its secrets; of a file the escaped path relative to the class raster's folder, if there is one."""
    if "://" in path or path.startswith("/vsi"):
        return public_form(path)
    try:
        relative = Path(os.path.relpath(path, prediction.paths["landcover"].parent)).as_posix()
    except ValueError:  # another drive
        return Path(path).absolute().as_uri()
    escaped = quote(os.fsencode(relative), safe="/!$&'()*+,;=:@~")
    return escaped if relative.startswith("../") else f"./{escaped}"


# ------------------------------------------------------------------------------------------------- classes and model


def _classes(classes: Sequence[ClassSpec]) -> list[dict[str, Any]]:
    return [
        {
            "value": c.id,
            "name": _identifier(c.name) or f"class_{c.id}",
            "title": c.name,
            "description": c.name,
            "color_hint": c.color[1:].upper(),
        }
        for c in classes
    ]


def _identifier(name: str) -> str:
    """A valid name for the classification extension: letters, digits, - and _ only."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^0-9A-Za-z_-]+", "_", plain).strip("_")


def _model_fields(model: ModelSpec) -> dict[str, Any]:
    network = model.network
    return {
        "mlm:name": model.name,
        "mlm:architecture": f"{network.architecture} {network.encoder}".strip(),
        "mlm:framework": "PyTorch",
        "mlm:framework_version": version("torch"),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:input": [_model_input(model)],
        "mlm:output": [_model_output(model)],
    }


def _model_input(model: ModelSpec) -> dict[str, Any]:
    statistics = zip(model.normalization.mean, model.normalization.std, strict=True)
    return {
        "name": "image",
        "description": f"Band values of type {model.dtype}, normalised by the network itself",
        "bands": list(model.bands),
        "input": {
            "shape": [-1, len(model.bands), model.tile, model.tile],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "value_scaling": [{"type": "z-score", "mean": mean, "stddev": std} for mean, std in statistics],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _model_output(model: ModelSpec) -> dict[str, Any]:
    return {
        "name": "logits",
        "tasks": ["semantic-segmentation"],
        "result": {
            "shape": [-1, len(model.classes), model.tile, model.tile],
            "dim_order": ["batch", "class", "height", "width"],
            "data_type": "float32",
        },
        "classification:classes": _classes(model.classes),
        "post_processing_function": None,
    }


def _model_asset(model: ModelSpec, href: str) -> dict[str, Any]:
    bands = [{"name": band} | ({"common_name": band} if band in _COMMON_BANDS else {}) for band in model.bands]
    return {
        "href": href,
        "type": "application/octet-stream; application=safetensors",
        "title": model.name,
        **({"description": model.card.description} if model.card.description else {}),
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "eo:bands": bands,
    }
