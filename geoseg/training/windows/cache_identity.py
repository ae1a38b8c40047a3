"""Digests by which runs find windows that are kept on disk: equal ones for equal windows and equal frozen outputs.

In: plain values, arrays, a network. Out: hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.training_batch import LabelledWindows

DIGITS = 32
"""Length of a digest."""


@dataclass(frozen=True)
class FrozenIdentity:
    """What distinguishes the frozen parts of a network from others."""

    weights: str
    """Digest of their weights and buffers; empty if the network has no frozen outputs."""
    outputs: tuple[tuple[Any, ...], ...]
    """Shape, mean and standard deviation of each of their outputs for some windows: they also depend on settings."""


def frozen_identity(network: SegmentationNetwork, windows: LabelledWindows) -> FrozenIdentity:
    """Evaluate the frozen parts on a few windows; equal parts have equal outputs to three digits."""
    for module in network.frozen_parts:
        module.eval()
    with torch.no_grad():
        outputs = network.frozen_outputs(windows)
    figures = tuple(
        (*one.shape, f"{one.double().mean():.2e}", f"{one.double().std(correction=0):.2e}") for one in outputs
    )
    states = [module.state_dict() for module in network.frozen_parts] if outputs else []
    arrays = {f"{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}
    weights = digest_of_arrays({name: tensor.float().numpy(force=True) for name, tensor in arrays.items()})
    return FrozenIdentity(weights if outputs else "", figures)


def digest(values: Mapping[str, Any]) -> str:
    """Digest of plain values by name."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:DIGITS]


def digest_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Digest of arrays by name."""
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:DIGITS]
