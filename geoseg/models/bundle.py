"""The model file: one .safetensors whose metadata carries the whole ModelSpec as JSON.

No pickle is ever read, so a model file from a stranger cannot run code.
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from geoseg.errors import ModelError, OutputError
from geoseg.files import draft_of, one_line
from geoseg.models.networks import build_network
from geoseg.spec import ModelSpec, parse_spec

METADATA_KEY, CHECKSUM_KEY = "geoseg", "crc32"
DEFAULT_BUNDLE = "landcover-naip-rgb.safetensors"


@dataclass(frozen=True)
class Model:
    """A model ready to use."""

    spec: ModelSpec
    """What the model is, takes, and gives."""
    module: nn.Module
    """(B, C, H, W) band values -> (B, K, H, W) logits, in eval mode."""


def default_model_path() -> Path:
    """Path of the model that comes with geoseg."""
    return Path(str(resources.files("geoseg.models") / DEFAULT_BUNDLE))


def read_spec(path: str | os.PathLike[str] | None = None) -> ModelSpec:
    """Read what a bundle says about itself, without its weights; None or `default` means the default model.

    Raises:
        ModelError: if the file is missing or is no geoseg bundle.
    """
    path = _existing(path)
    return _parse_metadata(_read_metadata(path), path)


def _read_metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as bundle:
            return bundle.metadata() or {}
    except PermissionError:
        raise ModelError(f"{path} may not be read: check its permissions") from None
    except (SafetensorError, OSError, ValueError):
        raise ModelError(
            f"{path} is not a geoseg model: a .safetensors bundle is expected; pickled models (.pt, .pth, .ckpt) "
            "can run code when loaded and are refused: write a bundle with geoseg.save_model"
        ) from None


def load_model(path: str | os.PathLike[str] | None = None) -> Model:
    """Load a bundle onto the CPU in float32; None or `default` means the default model.

    Raises:
        ModelError: if the file is missing, is no geoseg bundle, is damaged, or its weights don't fit its own spec.
    """
    path = _existing(path)
    metadata = _read_metadata(path)
    spec, weights = _parse_metadata(metadata, path), load_file(path)
    if metadata.get(CHECKSUM_KEY, "") not in ("", _checksum(weights)):
        raise ModelError(f"{path} is damaged: its weights are not those that were written: take another copy of it")
    module = build_network(spec)
    _load_weights(module, {name: _as_float32(tensor) for name, tensor in weights.items()}, path)
    return Model(spec, module.eval())


def save_model(module: nn.Module, spec: ModelSpec, path: str | os.PathLike[str], *, half: bool = False) -> Path:
    """Write a module and its spec as one bundle; complete or not at all.

    Args:
        module: a network as `build_network(spec)` makes it, trained.
        half: store kernels as float16, half the size; they are read back as float32. Statistics, biases and scales stay
            as they are: they are few, and may lie beyond what float16 can hold.

    Raises:
        ModelError: if the weights are not those of the network that the spec names.
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    _load_weights(build_network(spec), weights, path)
    if half:
        buffers = {name for name, _ in module.named_buffers()}
        weights = {name: tensor if name in buffers else _halved(tensor) for name, tensor in weights.items()}
    try:
        with draft_of(path) as draft:
            metadata = {METADATA_KEY: spec.model_dump_json(), CHECKSUM_KEY: _checksum(weights)}
            draft.write_bytes(save(weights, metadata=metadata))
    except (SafetensorError, RuntimeError) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}: check the folder and the free space") from None
    return path


def _existing(path: str | os.PathLike[str] | None) -> Path:
    path = default_model_path() if path is None or os.fspath(path) == "default" else Path(path)
    if path.is_dir():
        raise ModelError(f"{path} is a folder: give the path of a .safetensors bundle")
    if not path.is_file():
        raise ModelError(f"no model at {path}: check the path, or leave --model out for the default model")
    return path


def _parse_metadata(metadata: dict[str, str], path: Path) -> ModelSpec:
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path} holds weights but no geoseg spec: write it with geoseg.save_model")
    try:
        values = json.loads(metadata[METADATA_KEY])
    except json.JSONDecodeError:
        raise ModelError(f"{path}: its geoseg spec is not JSON: write it again with geoseg.save_model") from None
    return parse_spec(ModelSpec, values, source=str(path))


def _checksum(weights: dict[str, Tensor]) -> str:
    """CRC-32 of tensors and their names, in hexadecimal digits."""
    found = 0
    for name in sorted(weights):
        found = zlib.crc32(name.encode(), found)
        found = zlib.crc32(weights[name].contiguous().view(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _halved(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    half = tensor.half()
    return half if bool(half.isfinite().all()) else tensor


def _load_weights(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: the weights do not fit the network in its spec: {str(error).splitlines()[-1].strip()}"
        ) from None
