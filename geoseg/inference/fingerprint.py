"""Digests of scene, model and settings: equal digests mean equal pixels.

In: what a job is made of. Out: a digest. Work that was begun under one is never continued under another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from geoseg.core.safe_paths import file_of
from geoseg.core.version import __version__
from geoseg.geo.layer_paths import split_layer
from geoseg.models.model import Model
from geoseg.models.weights_digest import weights_digest
from geoseg.raster.scene import Scene
from geoseg.spec import ClassifySpec, GeneralizeSpec, PredictSpec

_WAY = 3
"""Number of the way in which pixels are decided, and of the files of a work folder: another one for another way."""
_APART = {"aoi", "match", "match_by", "adapt", "adapt_share", "adapt_windows"}
"""Settings that are counted apart from the others, or not at all."""


def fingerprint(scene: Scene, model: Model, spec: ClassifySpec, device: str, values: str = "") -> str:
    """Digest of everything that decides the classes of pixels.

    Args:
        scene: its files' places, sizes and last changes count, and what it is.
        model: its spec, its weights, and the content of its file count.
        spec: all of it counts; of an area of interest the state of its file, by whatever path; not how values are
            matched, but what becomes of them.
        device: kind of device, e.g. cpu: sums in another order differ in their last digit.
        values: digest of what becomes of the scene's values, where they are matched.
    """
    info = scene.info
    parts = {
        "version": __version__,
        "way": _WAY,
        "scene": [info.path if "://" in info.path else "", *(_file_state(path) for path in scene.files())],
        "raster": [
            info.height,
            info.width,
            info.dtypes,
            str(info.crs),
            tuple(info.transform),
            info.nodata,
            info.mask,
            info.scales,
            info.offsets,
        ],
        "model": model.spec.model_dump(mode="json"),
        "weights": weights_digest(model.module),
        "model file": model.file.sha256 if model.file else "",
        "settings": spec.model_dump(mode="json", exclude=_APART, warnings=False),
        "aoi": _area_state(spec.aoi) if spec.aoi else None,
        "device": device,
    }
    if scene.parts:  # the order of files and their names decide which band is which
        parts["parts"] = [(part.name, _file_state(part.path), part.tags) for part in scene.parts]
    if values:
        parts["values"] = values
    if spec.precision == "int8":
        parts["ranges"] = ranges_digest(model.ranges)
    if spec.adapt is not None:
        parts["adapt"] = [spec.adapt, spec.adapt_share, spec.adapt_windows]
    return _digest(parts)


def ranges_digest(ranges: Mapping[str, Tensor]) -> str:
    """Digest of the ranges of a network's values."""
    digest = hashlib.sha256()
    for name in sorted(ranges):
        digest.update(name.encode())
        digest.update(ranges[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def raster_fingerprint(pixels: str, spec: GeneralizeSpec) -> str:
    """Digest of a class raster, given that of its pixels as classified, and how they are generalised."""
    return _digest([pixels, spec.generalization.model_dump(mode="json")])


def output_fingerprints(spec: PredictSpec) -> dict[str, str]:
    """Digests of the settings of each result besides the class raster, by kind.

    Results of equal digests made from the same class raster are equal.
    """
    output, polygons = spec.output, spec.vector.of_generalized_raster
    deciding = {"instances", "split_instances", "split_depth", "connectivity", "classes"}
    numbered = polygons.model_dump(mode="json", include=deciding)
    made = {
        "polygons": _digest([polygons.model_dump(mode="json"), sorted(output.format)]) if output.polygons else None,
        "preview": "" if output.preview else None,
        "scores": output.scores_type if output.scores else None,
        "confidence": "" if output.confidence else None,
        "uncertainty": output.uncertainty_by if output.uncertainty else None,
        "instances": _digest(numbered) if polygons.instances else None,
        "item": "" if output.stac else None,
    }
    return {kind: digest for kind, digest in made.items() if digest is not None}


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _file_state(path: str | Path) -> list[Any]:
    """Absolute path, and size and modification time of a file or of the archive it is in; else the name alone."""
    file = file_of(str(path))
    if not os.path.exists(file):
        return [str(path)]
    state = os.stat(file)
    return [str(Path(path).resolve()), state.st_size, state.st_mtime_ns]


def _area_state(aoi: Path) -> list[Any]:
    """State of the file of an area of interest, and the name of the chosen layer."""
    path, layer = split_layer(aoi)
    return [*_file_state(path), layer]
