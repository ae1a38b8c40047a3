"""A STAC Item of the machine-learning model extension (MLM 1.5.2) for a model's file."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from geoseg.core.errors import ModelError
from geoseg.models.model import Model
from geoseg.models.model_file import ModelFile
from geoseg.models.other_runtime import count_weights
from geoseg.outputs.exports import Exported, ExportOptions
from geoseg.outputs.stac.item import CLASSIFICATION, EO, FILE
from geoseg.outputs.stac.model import model_asset, model_fields
from geoseg.outputs.stac.rights import licence_field, licence_links, rights_fields
from geoseg.spec import ModelSpec

MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"


class StacItem:
    """Writes .json."""

    title = "STAC Item (MLM)"
    options: frozenset[str] = frozenset()

    def make(self, model: Model, path: Path, options: ExportOptions) -> Exported:
        """The Item, whose asset is the model's own file.

        Raises:
            ModelError: if the model was made in memory.
        """
        if model.file is None:
            raise ModelError(f"{model.spec.name} is in no file, which its Item would name: save it first")
        item = model_item(model, model.file, path)
        return Exported({path.name: json.dumps(item, indent=2, ensure_ascii=False, allow_nan=False).encode()})


def model_item(model: Model, file: ModelFile, path: Path) -> dict[str, Any]:
    """The Item of a model's file, to lie at a path, to which the file's is relative.

    Where the model may be used is not known, so that it has no geometry; its time is that of the file.
    """
    written = datetime.fromtimestamp(file.path.stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [MLM, FILE, CLASSIFICATION, EO],
        "id": re.sub(r"[^0-9A-Za-z._-]+", "_", model.spec.name),
        "geometry": None,
        "properties": {
            "datetime": written,
            "title": model.spec.name,
            **_about(model.spec),
            **rights(model.spec),
            **sized(model_fields(model.spec, file)),
            "mlm:total_parameters": count_weights(model.module),
        },
        "links": licence_links(model.spec),
        "assets": {"model": model_asset(model.spec, file, _href(file.path, path.parent))},
    }


def _about(spec: ModelSpec) -> dict[str, Any]:
    """What the card says."""
    card = spec.card
    texts = {"description": card.what_for, "geoseg:data": card.data, "geoseg:limits": card.limits}
    scores = {"geoseg:scores": card.scores, "geoseg:test_scores": card.test_scores}
    size = {"gsd": spec.resolution_m} if spec.resolution_m is not None else {}
    return {name: value for name, value in (texts | scores).items() if value} | size


def rights(spec: ModelSpec) -> dict[str, str]:
    """Licence and credits, in fields of a model's Item: STAC's own holds an identifier, the text stands beside it."""
    return licence_field(spec) | rights_fields(spec)


def sized(fields: dict[str, Any], side: int = -1) -> dict[str, Any]:
    """Fields of a model whose images have a side in pixels, -1 for any; sides in the words of MLM 1.5."""
    for port, shape, second in (("mlm:input", "input", "bands"), ("mlm:output", "result", "classes")):
        for one in fields[port]:
            sides = {"shape": [*one[shape]["shape"][:2], side, side], "dim_order": ["batch", second, "height", "width"]}
            one[shape] |= sides
    return fields


def _href(file: Path, folder: Path) -> str:
    try:
        relative = Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # another drive
        return file.absolute().as_uri()
    escaped = quote(os.fsencode(relative), safe="/!$&'()*+,;=:@~")
    return escaped if relative.startswith("../") else f"./{escaped}"


EXPORT = StacItem()
