"""The model file: one .safetensors whose metadata carries the whole ModelSpec as JSON.

No pickle is ever read, so a model file from a stranger cannot run code.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from geoseg.core.errors import ModelError, OutputError, shown
from geoseg.core.files import draft_of, one_line
from geoseg.models.backends import backend_of
from geoseg.models.build import build_network
from geoseg.models.header import METADATA_KEY, existing_model, header_errors, parse_metadata
from geoseg.models.meta_network import build_meta_network
from geoseg.models.model import Model
from geoseg.models.model_file import ModelFile
from geoseg.models.quantization.ranges import check_ranges
from geoseg.models.weights.matching import Kind, check_fit, check_numbers, kinds_of
from geoseg.spec import ModelSpec

CHECKSUM_KEY = "crc32"
_RANGES = "int8."
"""Prefix of the ranges of a network's values; weights are named otherwise."""


def load_model(path: str | os.PathLike[str] | None = None) -> Model:
    """Load a model file onto the CPU in float32; None or `default` means the default model.

    Raises:
        ModelError: if the file is missing, of no kind that is known, damaged, or its weights don't fit its own spec.
    """
    is_unchosen, path = path is None, existing_model(path)
    backend = backend_of(path)
    model = backend.open(path)
    with path.open("rb") as file:
        digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    known = ModelFile(path, size, digest, backend.media_type, backend.artifact_type, backend.framework)
    return replace(model, file=known, is_unchosen=is_unchosen)


def open_bundle(path: Path) -> Model:
    """Load a bundle onto the CPU in float32, in evaluation mode.

    No other file and no network connection is opened. Memory is allocated once the header has shown that the file holds
    the weights of the network that it names.

    Raises:
        ModelError: if it is no geoseg bundle, is damaged, its weights don't fit its own spec, or are not finite.
    """
    header = _read_header(path)
    spec = parse_metadata(header.metadata, path)
    network = build_meta_network(spec)
    check_fit(network, {name: kind for name, kind in header.weights.items() if not name.startswith(_RANGES)}, str(path))
    try:
        module, weights = build_network(spec, fresh=False), load_file(path)
    except (SafetensorError, OSError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{path} cannot be read: {one_line(error)}: copy it again, or free memory") from None
    if header.metadata.get(CHECKSUM_KEY, "") not in ("", _checksum(weights)):
        raise ModelError(f"{path} is damaged: its weights are not those that were written: take another copy of it")
    weights = {name: _as_float32(tensor) for name, tensor in weights.items()}
    check_numbers(weights, str(path))
    ranges = {name.removeprefix(_RANGES): weights.pop(name) for name in list(weights) if name.startswith(_RANGES)}
    module.load_state_dict(weights)
    check_ranges(module, ranges, str(path))
    return Model(spec, module.eval(), ranges=ranges)


def save_model(
    module: nn.Module,
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    half: bool = False,
    ranges: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a module and its spec as one bundle; complete or not at all.

    Args:
        module: a trained network, built by `build_network(spec)`.
        spec: its description.
        path: the file.
        half: store kernels as float16, half the size; they are read back as float32. Statistics, biases and scales stay
            float32: they are few, and may exceed the range of float16.
        ranges: ranges of its values, for 8-bit integers.

    Raises:
        ModelError: if the weights are not those of the network that the spec names, are not finite, or the spec could
            not be read again.
        OutputError: if the file cannot be written.
    """
    path = Path(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    check_fit(build_meta_network(spec), kinds_of(weights), str(path))
    check_numbers(weights, str(path))
    text = _as_json(spec, path)
    if half:
        buffers = {name for name, _ in module.named_buffers()}
        weights = {name: tensor if name in buffers else _halved(tensor) for name, tensor in weights.items()}
    weights |= {_RANGES + name: tensor.contiguous() for name, tensor in (ranges or {}).items()}
    try:
        with draft_of(path) as draft:
            metadata = {METADATA_KEY: text, CHECKSUM_KEY: _checksum(weights)}
            draft.write_bytes(save(weights, metadata=metadata))
    except (SafetensorError, RuntimeError) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}: check the folder and the free space") from None
    return path


@dataclass(frozen=True)
class _Header:
    """The header of a bundle: metadata, and shape and type of each weight."""

    metadata: dict[str, str]
    weights: dict[str, Kind]


def _read_header(path: Path) -> _Header:
    """Read the header of a bundle.

    Raises:
        ModelError: if there is none, or it is larger than `MOST_HEADER`.
    """
    with header_errors(path), safe_open(path, framework="pt") as bundle:
        slices = {name: bundle.get_slice(name) for name in bundle.keys()}  # noqa: SIM118  # it is no dictionary
        kinds = {name: Kind(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
        return _Header(bundle.metadata() or {}, kinds)


def _as_json(spec: ModelSpec, path: Path) -> str:
    """A spec as JSON that can be read again.

    Raises:
        ModelError: if it holds what no bundle may hold.
    """
    try:
        text = spec.model_dump_json()
    except (ValueError, RecursionError) as error:  # a lone surrogate, an object that is no plain value
        raise ModelError(f"cannot write {path}: its spec is no JSON: {shown(one_line(error), quoted=False)}") from None
    parse_metadata({METADATA_KEY: text}, path)
    return text


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
