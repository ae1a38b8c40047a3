"""Files of weights: tensors by name, compared with an encoder's state dict, and adapted to its bands.

In: a .safetensors, .pth or .pt file. Out: tensors. Pickled files are read as plain tensors only: they cannot run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.weights.matching import check_numbers
from geoseg.spec import ModelSpec

PREFIXES = ("", "encoder.", "body.encoder.")
"""Prefixes of an encoder's weight names in the files of an encoder, of an smp model, of a geoseg bundle."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors, .pth or .pt file, also of a checkpoint that contains them.

    Raises:
        ModelError: if the file is missing or holds anything but tensors.
    """
    if not path.is_file():
        raise ModelError(f"no encoder weights at {path}: check the path")
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception:  # unpickling raises whatever the bytes lead to
        raise ModelError(
            f"{path} cannot be read as weights: give a .safetensors file, or a .pth file that holds tensors only"
        ) from None
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
    weights = {name: t for name, t in content.items() if isinstance(t, Tensor)} if isinstance(content, dict) else {}
    if not weights:
        raise ModelError(f"{path} holds no weights by name: give a file with an encoder's state dict")
    check_numbers(weights, str(path))
    return weights


def by_own_names(
    wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], spec: ModelSpec, path: Path
) -> dict[str, Tensor]:
    """The wanted weights from those of a file, adapted to a model's bands; empty if the file has other names for them.

    Raises:
        ModelError: if one has another shape.
    """
    for prefix in PREFIXES:
        named = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
        if not missing(wanted, named):
            return {name: _fitted(name, named.get(name, own), own, spec, path) for name, own in wanted.items()}
    return {}


def missing(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """Names of the wanted floating-point tensors that are not given; counters and index tables don't count."""
    return [name for name, tensor in wanted.items() if tensor.is_floating_point() and name not in given]


def lacking(path: Path, spec: ModelSpec, missing: Sequence[str]) -> ModelError:
    """The error for a file that lacks weights of a model's encoder."""
    return ModelError(
        f"{path} lacks weights of {spec.network.encoder}, {missing[0]} and {len(missing) - 1} more: "
        "give that encoder's weights"
    )


def _fitted(name: str, given: Tensor, own: Tensor, spec: ModelSpec, path: Path) -> Tensor:
    """A weight of the wanted shape; the first convolution's is adapted to the bands."""
    bands = len(spec.bands)
    if given.ndim == own.ndim == 4 and given.shape[1] != own.shape[1] == bands:
        given = fit_bands(given, bands)
    if given.shape != own.shape:
        raise ModelError(
            f"{path}: {name} is {tuple(given.shape)}, but {spec.network.encoder} needs {tuple(own.shape)}: "
            "give that encoder's weights"
        )
    return given


def fit_bands(kernels: Tensor, bands: int) -> Tensor:
    """Kernels (O, I, h, w) as (O, bands, h, w): repeated, and scaled so that the response to equal bands is the same.

    A single band gets the sum. smp and timm do the same when they load weights.
    """
    count = kernels.shape[1]
    if bands == 1:
        return kernels.sum(dim=1, keepdim=True)
    turns = [band % count for band in range(bands)]
    return kernels[:, turns] * (count / bands)
