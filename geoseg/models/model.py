"""A model in memory: a network and all that is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from geoseg.spec import ModelSpec


@dataclass(frozen=True)
class Model:
    """A model ready to use."""

    spec: ModelSpec
    """What the model is, takes, and gives."""
    module: nn.Module
    """(B, C, H, W) band values -> (B, K, H, W) logits, in eval mode."""
