"""The Item of a prediction. Writes no files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from geoseg.core.composites import paths_in
from geoseg.core.redaction import public_form
from geoseg.core.version import __version__
from geoseg.geo.georef import PixelGrid
from geoseg.models.model_file import ModelFile
from geoseg.outputs.stac.assets import ResultFile, is_asset, result_asset
from geoseg.outputs.stac.classes import described_classes
from geoseg.outputs.stac.model import model_asset, model_fields
from geoseg.outputs.stac.place import place_of, projection
from geoseg.outputs.stac.rights import licence_links, rights_fields
from geoseg.spec import ModelSpec

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.1.0/schema.json"
EO = "https://stac-extensions.github.io/eo/v1.1.0/schema.json"
MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"


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
    files: Mapping[str, ResultFile]
    """Files by kind: landcover, and those of polygons, preview, scores, confidence and uncertainty that were
    written."""
    model_file: ModelFile | None = None
    """The model's file; None for a model that was made in memory."""
    confidence: float | None = None
    """Mean probability of the chosen class, 0 to 1; None if it is unknown."""
    notices: tuple[str, ...] = ()
    """Sentences on the scene, the model and the settings."""


def landcover_item(prediction: Prediction) -> dict[str, Any]:
    """The STAC Item of a prediction, to be written beside the class raster, to which its paths are relative.

    Geometry is null and bbox absent where the scene's coordinates cannot be converted to longitude and latitude.
    """
    of_model = [] if prediction.model_file is None else [EO, MLM]  # MLM demands the model itself among the assets
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [PROJECTION, FILE, CLASSIFICATION, PROCESSING, *of_model],
        "id": f"{prediction.name}_landcover",
        **place_of(prediction.grid),
        "properties": _properties(prediction),
        "links": [
            *(
                {"rel": "derived_from", "href": _href(path, prediction), "title": "Scene"}
                for path in paths_in(prediction.scene)
            ),
            *licence_links(prediction.model),
        ],
        "assets": _assets(prediction),
    }


def _properties(prediction: Prediction) -> dict[str, Any]:
    taken = prediction.datetime if prediction.datetime.tzinfo else prediction.datetime.replace(tzinfo=UTC)
    return {
        "datetime": taken.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "title": f"Land cover of {prediction.name}",
        "processing:level": "L4",
        "processing:software": {"geoseg": __version__},
        **_trust(prediction),
        **rights_fields(prediction.model),
        **projection(prediction.grid),
        **model_fields(prediction.model, prediction.model_file),
    }


def _trust(prediction: Prediction) -> dict[str, Any]:
    """How sure the model is, and what the user was notified of."""
    confidence = {} if prediction.confidence is None else {"geoseg:confidence": round(prediction.confidence, 4)}
    return confidence | ({"geoseg:notices": list(prediction.notices)} if prediction.notices else {})


def _assets(prediction: Prediction) -> dict[str, Any]:
    place = projection(prediction.grid)
    assets = {
        kind: result_asset(kind, file, _href(str(file.path), prediction), place)
        for kind, file in prediction.files.items()
        if is_asset(kind)
    }
    assets["landcover"]["classification:classes"] = described_classes(prediction.model.classes)
    if (file := prediction.model_file) is not None:
        assets["model"] = model_asset(prediction.model, file, _href(str(file.path), prediction))
    return assets


def _href(path: str, prediction: Prediction) -> str:
    """A URL without its secrets; of a file the escaped path relative to the class raster's folder, if there is one."""
    if "://" in path or path.startswith("/vsi"):
        return public_form(path)
    try:
        relative = Path(os.path.relpath(path, prediction.files["landcover"].path.parent)).as_posix()
    except ValueError:  # another drive
        return Path(path).absolute().as_uri()
    escaped = quote(os.fsencode(relative), safe="/!$&'()*+,;=:@~")
    return escaped if relative.startswith("../") else f"./{escaped}"
