"""What all networks here are: normalisation, then a body. In: band values (B, C, H, W). Out: logits (B, K, H, W)."""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from geoseg.models.families.body import Body
from geoseg.models.surroundings import NOTHING, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import NormalizationSpec


class Segmenter(Protocol):
    """Whatever classifies windows: a bundle's module, an ensemble, a test's fake."""

    def __call__(self, image: Tensor, context: Context = NOTHING) -> Tensor:
        """Turn band values (B, C, H, W), float32, into logits (B, K, H, W).

        Without levels in the context, a network with a branch is the local network alone.
        """
        ...


class Normalize(nn.Module):
    """(value - mean) / std per band; mean and std travel with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NormalizationSpec):
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Normalise band values (B, C, H, W)."""
        return (image.float() - self.mean).div_(self.std)


class SegmentationNetwork(nn.Module):
    """Normalisation, then a network: band values in, logits out."""

    UNFUSED: ClassVar[tuple[str, ...]] = ()
    """Methods that torch.compile leaves as they are. They are named, not decorated: the decorator imports the compiler,
    which takes seconds that only those should spend who use it."""

    def __init__(self, normalize: Normalize, body: Body):
        super().__init__()
        self.normalize = normalize
        self.body = body

    def forward(self, image: Tensor, context: Context = NOTHING) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W); `context` is for networks that have that branch."""
        logits: Tensor = self.body(self.normalize(image))
        return logits

    def see(self, views: Views) -> Context:
        """Take in what lies around windows; a network without a branch takes nothing."""
        return NOTHING

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """Parts that stay as they are in a whole training run."""
        return ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            windows: what is learnt from.
            criterion: by what logits are judged.
            averaged: the running mean of this network, a network of the same class.
            generator: source of what a network draws.
        """
        logits: Tensor = self(windows.image.contiguous(memory_format=torch.channels_last))
        return criterion.of_windows(logits, windows.labels)
