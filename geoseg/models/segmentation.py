"""What all networks here are: normalisation, then a body. In: band values (B, C, H, W). Out: logits (B, K, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from geoseg.models.families.body import Body
from geoseg.models.learning import Criterion, LabelledWindows
from geoseg.spec import NormalizationSpec


@dataclass(frozen=True)
class Context:
    """What a context branch has seen around the windows of a batch."""

    maps: tuple[Tensor, ...]
    """Per level: features of each window's view (B, F, h, w), or of one that serves them all (1, F, h, w)."""
    boxes: tuple[Tensor, ...]
    """Per level: left, top, right and bottom of each window as shares of its view (B, 4)."""

    def to(self, device: torch.device) -> Context:
        """Return it on a device."""
        return Context(*(tuple(one.to(device) for one in parts) for parts in (self.maps, self.boxes)))

    def part(self, windows: slice | list[int]) -> Context:
        """Return what belongs to some of the windows."""
        maps = tuple(level if len(level) == 1 else level[windows] for level in self.maps)
        return Context(maps, tuple(boxes[windows] for boxes in self.boxes))


class Segmenter(Protocol):
    """Whatever classifies windows: a bundle's module, an ensemble, a test's fake."""

    def __call__(self, image: Tensor, context: Context | None = None) -> Tensor:
        """Turn band values (B, C, H, W), float32, into logits (B, K, H, W).

        Without context, a network that has such a branch is the local network alone.
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

    def forward(self, image: Tensor, context: Context | None = None) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W); `context` is for networks that have that branch."""
        logits: Tensor = self.body(self.normalize(image))
        return logits

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
