"""The spec in a model file, read without the weights and without PyTorch; and the path of the default model.

In: a path, an address, or None for the model that comes with geoseg. Out: a ModelSpec.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open

from geoseg.core.errors import ModelError, SpecError
from geoseg.models.backends import backend_of
from geoseg.models.downloads import fetch_file, is_address
from geoseg.spec import ModelSpec, load_yaml, parse_json, parse_spec

METADATA_KEY = "geoseg"
DEFAULT_BUNDLE = "landcover-naip-rgb.safetensors"
MOST_HEADER = 2**24
"""Bytes of the largest header that is read."""


def default_model_path() -> Path:
    """Path of the model that comes with geoseg."""
    return Path(str(resources.files("geoseg"))) / "models" / DEFAULT_BUNDLE


def existing_model(path: str | os.PathLike[str] | None) -> Path:
    """Path of a model file: itself, the one in a run's folder, or the default one for None and `default`.

    A file at an address (`hf://OWNER/NAME`, `https://...`) is downloaded into a cache, if it is not there.

    Raises:
        ModelError: if there is no file.
    """
    if path is not None and is_address(path):
        return fetch_file(os.fspath(path)).path
    path = default_model_path() if path is None or os.fspath(path) == "default" else Path(path)
    if path.is_dir():
        return _model_of_run(path)
    if not path.is_file():
        raise ModelError(f"no model at {path}: check the path, or take `default`, the model that comes with geoseg")
    return path


def _model_of_run(folder: Path) -> Path:
    """The bundle in the folder of a run; of several the one that has the name in the run's settings."""
    found = sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        found = [one for one in found if one.stem == _name_of_run(folder)]
    if len(found) != 1:
        raise ModelError(f"{folder} is a folder without the bundle of a run: give the path of a model file")
    return found[0]


def _name_of_run(folder: Path) -> str | None:
    """The name of the model in the settings of a run; None if there are no settings."""
    try:
        return str(load_yaml(folder / "config.yaml").get("name"))
    except SpecError:
        return None


def read_spec(path: str | os.PathLike[str] | None = None) -> ModelSpec:
    """Read the spec of a model file, without its weights; None or `default` means the default model.

    Raises:
        ModelError: if the file is missing, or is no model file.
    """
    path = existing_model(path)
    return backend_of(path).read_spec(path)


def read_header(path: Path) -> ModelSpec:
    """The spec in a bundle's header.

    Raises:
        ModelError: if it is no bundle.
    """
    with header_errors(path), safe_open(path, framework="np") as bundle:
        metadata = bundle.metadata() or {}
    return parse_metadata(metadata, path)


@contextmanager
def header_errors(path: Path) -> Iterator[None]:
    """Turn errors of reading a header into a ModelError; a header above `MOST_HEADER` is refused before it is read."""
    try:
        _check_header_size(path)
        yield
    except PermissionError:
        raise ModelError(f"{path} may not be read: check its permissions") from None
    except (SafetensorError, OSError, ValueError, OverflowError):
        raise ModelError(
            f"{path} is not a geoseg model: a .safetensors bundle is expected; pickled models (.pt, .pth, .ckpt) "
            "can run code when loaded and are refused: write a bundle with geoseg.save_model"
        ) from None


def _check_header_size(path: Path) -> None:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if MOST_HEADER < size <= path.stat().st_size:
        raise ModelError(f"{path} has a header of {size / 1e6:,.0f} MB: bundles have one of less than 1 MB")


def parse_metadata(metadata: dict[str, str], path: Path) -> ModelSpec:
    """The spec in the metadata of a bundle at a path.

    Raises:
        ModelError: if the metadata hold no valid spec.
    """
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path} holds weights but no geoseg spec: write it with geoseg.save_model")
    try:
        return parse_spec(ModelSpec, parse_json(metadata[METADATA_KEY], f"{path}: its geoseg spec"), source=str(path))
    except SpecError as error:
        raise ModelError(str(error)) from None
