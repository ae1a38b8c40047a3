"""Checkpoints of PyTorch Lightning: weights of a task, and the settings by which it was made.

In: a source. Out: settings, and weights without the task's prefix. Knows no tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from geoseg.models.layouts.source import Source

SETTINGS, WEIGHTS = "hyper_parameters", "state_dict"
"""Keys of a checkpoint."""


@dataclass(frozen=True)
class LightningTask:
    """What a checkpoint holds of a task."""

    settings: Mapping[str, Any]
    """The task's hyperparameters."""
    weights: Mapping[str, Tensor]
    """Weights below the task's network, without its prefix."""
    others: tuple[str, ...]
    """Names of the task's other parts that have weights: losses, metrics, teachers."""

    @property
    def notices(self) -> tuple[str, ...]:
        """That the other parts are dropped."""
        return tuple(f"{part} is dropped: it is no part of the network that classifies" for part in self.others)


def lightning_task(source: Source, prefix: str) -> LightningTask | None:
    """The task in a checkpoint, whose network has a prefix; None if the source is no such checkpoint."""
    checkpoint = source.checkpoint(SETTINGS, WEIGHTS)
    if checkpoint is None or not isinstance(checkpoint[SETTINGS], dict):
        return None
    named = source.weights
    weights = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    others = sorted({name.partition(".")[0] for name in named if not name.startswith(prefix)})
    return LightningTask(checkpoint[SETTINGS], weights, tuple(others))
