"""The model in fields of the MLM extension, and its file as an asset."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from geoseg.models.model_file import ModelFile
from geoseg.outputs.stac.classes import described_classes, plain_letters
from geoseg.outputs.stac.rights import licence_field
from geoseg.spec import ModelSpec

SHA256_MULTIHASH = "1220"
"""Multihash prefix of a SHA-256 digest: its code, 0x12, and its length, 32 bytes."""
_COMMON_NAMES = frozenset({
    "coastal", "blue", "green", "red", "rededge", "yellow", "pan", "nir", "nir08", "nir09", "cirrus", "swir16",
    "swir22", "lwir", "lwir11", "lwir12",
})  # fmt: skip
"""Names of bands that are common names of the electro-optical extension, too."""
_LIBRARIES = {"PyTorch": "torch", "ONNX": "onnx"}
"""The library whose version is that of a framework."""
_SHORTEST_NAME = 3
"""Letters of the shortest name that MLM allows."""


def model_fields(model: ModelSpec, file: ModelFile | None = None) -> dict[str, Any]:
    """What the model is, takes and gives, in fields of an Item."""
    network, framework = model.network, "PyTorch" if file is None else file.framework
    library = _LIBRARIES.get(framework)
    return {
        "mlm:name": _name(model),
        "mlm:architecture": f"{network.architecture} {network.encoder}".strip(),
        "mlm:framework": framework,
        **({"mlm:framework_version": _semantic(version(library))} if library else {}),
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:input": [_model_input(model)],
        "mlm:output": [_model_output(model)],
    }


def model_asset(model: ModelSpec, file: ModelFile, href: str) -> dict[str, Any]:
    """The model's file, with the bands that it takes."""
    bands = [{"name": band} | ({"common_name": band} if band in _COMMON_NAMES else {}) for band in model.bands]
    return {
        "href": href,
        "type": file.media_type,
        "title": model.name,
        **({"description": model.card.description} if model.card.description else {}),
        **licence_field(model),
        "roles": ["mlm:model", "mlm:weights"],
        "file:size": file.size,
        "file:checksum": SHA256_MULTIHASH + file.sha256,
        "mlm:artifact_type": file.artifact_type,
        "eo:bands": bands,
    }


def _name(model: ModelSpec) -> str:
    """The model's name in the letters that MLM allows, which begins with one, and has three characters or more."""
    name = re.sub(r"[^0-9A-Za-z_. -]+", "_", plain_letters(model.name)).strip("_. -")
    return name if len(name) >= _SHORTEST_NAME and name[0].isalpha() else f"model_{name}".strip("_")


def _semantic(version: str) -> str:
    """A version as numbers and build, without what only Python knows, e.g. 2.9.0a0+git5 as 2.9.0+git5."""
    numbers = re.match(r"\d+(\.\d+){0,2}", version)
    parts = [str(int(part)) for part in numbers[0].split(".")] if numbers else []
    build = version.partition("+")[2]
    return ".".join([*parts, "0", "0", "0"][:3]) + (f"+{build}" if re.fullmatch(r"[0-9A-Za-z.-]+", build) else "")


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
        "classification:classes": described_classes(model.classes),
        "post_processing_function": None,
    }
