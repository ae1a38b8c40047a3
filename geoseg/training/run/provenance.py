"""The spec and the provenance that a run writes into its bundle. No path of the machine goes into a bundle."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geoseg.core.composites import each_part
from geoseg.core.redaction import public_values
from geoseg.core.version import __version__
from geoseg.models.downloads import fetch_file, is_address
from geoseg.models.families.licences import forbids_commerce, inherited, non_commercial
from geoseg.models.header import read_spec
from geoseg.models.weights.places import download_weights, licence_of_folder
from geoseg.raster.scaling import conversion
from geoseg.spec import DataSpec, ModelCard, ModelSpec, NormalizationSpec, TrainSpec
from geoseg.spec.branch import branch_fields
from geoseg.spec.train import is_path_of_weights
from geoseg.training.data.training_data import TrainingData
from geoseg.training.methods.method import change_paths
from geoseg.training.run.settings import Hardware


def model_spec(spec: TrainSpec, data: TrainingData) -> ModelSpec:
    """The spec of the model that a run trains, without scores."""
    normalization = _normalization(spec, data)
    is_own = spec.init_from is None and normalization == data.normalization
    return ModelSpec(
        name=spec.name,
        network=spec.network,
        bands=spec.data.bands,
        dtype=spec.data.dtype,
        normalization=normalization,
        statistics=None if is_own else data.normalization,
        brightness=data.brightness,
        scaling=data.scaling,
        classes=spec.classes,
        resolution_m=data.resolution_m,
        tile=spec.tile,
        overlap=spec.overlap,
        card=_licensed(spec),
        **branch_fields(spec),
    )


def _licensed(spec: TrainSpec) -> ModelCard:
    """The card of the settings; its licence says so where the encoder may not be used commercially."""
    line, own = restriction(spec), spec.card.licence
    texts = [own] if line is None or line in own else filter(None, [own, line])
    return spec.card.model_copy(update={"licence": "; ".join(texts)})


def restriction(spec: TrainSpec) -> str | None:
    """The sentence that the trained model may not be used commercially, for its encoder or for `init_from`.

    Where nothing says under which licence the weights of `init_from` are, the sentence says that.
    """
    line = _of_encoder(spec)
    if line is not None or spec.init_from is None:
        return line
    given = read_spec(spec.init_from)
    weights = given.card.training.get("encoder_weights")
    return inherited(given) or non_commercial(given.network, weights if isinstance(weights, str) else None)


def _of_encoder(spec: TrainSpec) -> str | None:
    weights = spec.encoder_weights
    if weights is None or not (is_address(weights) or is_path_of_weights(weights)):
        return non_commercial(spec.network, weights)
    line = non_commercial(spec.network, None)
    licence = None if line else licence_of_folder(weights)
    if licence is None or not forbids_commerce(licence):
        return line
    what = f"encoder {spec.network.encoder} ({_name_of_weights(weights)})"
    return f"{what}: {licence}, for non-commercial use only, as is a model with it"


def _name_of_weights(weights: str) -> str:
    """A tag, the name of a file or folder, or the address of the version that was downloaded."""
    download = download_weights(weights)
    return Path(weights).name if download is None else download.address


def _name_of_start(bundle: Path) -> str:
    """The name of a bundle, or the address of the version that was downloaded."""
    return fetch_file(os.fspath(bundle)).address if is_address(bundle) else bundle.name


def provenance(spec: TrainSpec, data: TrainingData, hardware: Hardware) -> dict[str, Any]:
    """The settings of a run, its hardware, and the size of its data, for the model's card."""
    settings = spec.model_dump(mode="json", exclude={"card", "classes", "network", "device", "precision", "data"})
    found: dict[str, Any] = public_values(settings) | {
        "data": public_values(without_folders(spec.data).model_dump(mode="json", exclude_defaults=True)),
        "encoder_weights": spec.encoder_weights and _name_of_weights(spec.encoder_weights),
        "init_from": spec.init_from and _name_of_start(spec.init_from),
        "cache": spec.cache and spec.cache.model_dump(mode="json", exclude={"folder"}),
        "method": public_values(change_paths(spec.method, lambda path: Path(path.name)).model_dump(mode="json")),
        "train_images": data.train.images,
        "train_pixels": int(data.train.class_counts.sum()),
        "val_images": data.val.images,
        **({} if data.val.polygons is None else {"val_polygons": data.val.polygons}),
        **_without_labels(data, spec.data.kind_without_labels),
        "device": hardware.device.type,
        "precision": hardware.precision,
        "geoseg": __version__,
        "torch": torch.__version__,
        **({} if data.size_range_m is None else {"pixel_sizes_m": data.size_range_m}),
    }
    return found


def _without_labels(data: TrainingData, kind: str) -> dict[str, int]:
    """How many images without labels there are, and their pixels; nothing if there are none."""
    side = data.unlabelled
    return {f"{kind}_images": side.images, f"{kind}_pixels": side.pixels} if side.images else {}


def run_fingerprint(data: TrainingData, learnt_from: Mapping[str, Any]) -> str:
    """Digest of all that a run learns from: its data, and what its training method names besides."""
    if not learnt_from:
        return data.fingerprint
    return hashlib.sha256(json.dumps([data.fingerprint, dict(learnt_from)], sort_keys=True).encode()).hexdigest()


def without_folders(data: DataSpec) -> DataSpec:
    """The same data settings, with the names of files alone."""
    scenes = [
        scene.model_copy(update={"image": Path(_name(str(scene.image))), "label": Path(scene.label.name)})
        for scene in data.scenes
    ]
    changes = {
        "tiles": data.tiles and Path(data.tiles.name),
        "images": data.images and _name(data.images),
        "labels": data.labels and Path(data.labels).name,
        "scenes": tuple(scenes),
        "extent": data.extent and Path(data.extent.name),
        "corrections": tuple(Path(path.name) for path in data.corrections),
        data.kind_without_labels: tuple(map(_name, data.without_labels)),
    }
    return data.model_copy(update=changes)


def _name(address: str) -> str:
    """The name of a file, or those of all files of a composite address."""
    return each_part(address, lambda path: Path(path).name)


def _normalization(spec: TrainSpec, data: TrainingData) -> NormalizationSpec:
    """Statistics of the training rasters, or of the bundle that the network starts from, whose weights expect them."""
    if spec.init_from is not None:
        given = read_spec(spec.init_from)
        is_same = (given.bands, given.dtype) == (spec.data.bands, spec.data.dtype)
        if is_same and conversion(data.scaling, given.scaling) is None:
            return given.normalization
    return data.normalization
