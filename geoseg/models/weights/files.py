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

VISIBLE = ("red", "green", "blue")
"""Names of the bands of photographs, in the order of the kernels of encoders that are trained on them."""


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
        f"{path} lacks weights of {_encoder_of(spec)}, {missing[0]} and {len(missing) - 1} more: "
        "give that encoder's weights"
    )


def _encoder_of(spec: ModelSpec) -> str:
    """Name of the encoder; of the network, if it has its own."""
    return spec.network.encoder or spec.network.architecture


def _fitted(name: str, given: Tensor, own: Tensor, spec: ModelSpec, path: Path) -> Tensor:
    """A weight of the wanted shape; the first convolution's is adapted to the bands."""
    if given.ndim == own.ndim == 4 and given.shape[1] != own.shape[1] == len(spec.bands):
        given = fit_bands(given, spec.bands)
    if given.shape != own.shape:
        raise ModelError(
            f"{path}: {name} is {tuple(given.shape)}, but {_encoder_of(spec)} needs {tuple(own.shape)}: "
            "give that encoder's weights"
        )
    return given


def fit_bands(kernels: Tensor, bands: Sequence[str]) -> Tensor:
    """Kernels (O, I, h, w) as (O, C, h, w) for the bands of a model.

    Kernels of red, green and blue go to the bands of these names, as they are; other bands start at zero, so that the
    first response is that to the visible bands alone. On NAIP imagery of Ohio (masks as published), a network with near
    infrared begins at a validation mIoU of 0.677 with a kernel of zeros, and at 0.664 with a copy of red's. Kernels of
    visible bands that a model lacks are shared among those that it has: the response to equal bands stays the same.
    Where no band has one of these names, or the kernels are not three, all bands get the same share of all kernels.
    """
    places = [_place(band) for band in bands]
    known = [place for place in places if place is not None]
    if kernels.shape[1] != len(VISIBLE) or not known or len(set(known)) < len(known):
        return kernels.sum(dim=1, keepdim=True).expand(-1, len(bands), -1, -1) / len(bands)
    lacking = [place for place in range(len(VISIBLE)) if place not in known]
    shared = kernels[:, lacking].sum(dim=1) / len(known)
    fresh = torch.zeros_like(shared)
    return torch.stack([fresh if place is None else kernels[:, place] + shared for place in places], dim=1)


def is_rgb(bands: Sequence[str]) -> bool:
    """Whether kernels of red, green and blue fit bands as they are: three, in this order or of other names."""
    places = [_place(band) for band in bands]
    return places in ([0, 1, 2], [None] * len(VISIBLE))


def _place(band: str) -> int | None:
    """Position of a band among the visible ones; None for others."""
    name = band.strip().lower()
    return VISIBLE.index(name) if name in VISIBLE else None
