"""What all networks here are: normalisation, then a body. In: band values (B, C, H, W). Out: logits (B, K, H, W)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from geoseg.models.families.body import Body
from geoseg.models.learning import Criterion, LabelledWindows
from geoseg.models.views import Views
from geoseg.spec import NormalizationSpec


@dataclass(frozen=True)
class Context:
    """What a network knows of the surroundings of the windows of a batch."""

    maps: tuple[Tensor, ...]
    """Per level: features, or probabilities, of each window's view (B, F, h, w), or of one for all (1, F, h, w)."""
    boxes: tuple[Tensor, ...]
    """Per level: left, top, right and bottom of each window as shares of its view (B, 4)."""

    def to(self, device: torch.device) -> Context:
        """Return it on a device."""
        return Context(*(tuple(one.to(device) for one in parts) for parts in (self.maps, self.boxes)))

    def part(self, windows: slice | list[int]) -> Context:
        """Return what belongs to some of the windows."""
        maps = tuple(level if len(level) == 1 else level[windows] for level in self.maps)
        return Context(maps, tuple(boxes[windows] for boxes in self.boxes))


NOTHING = Context((), ())
"""Of windows that are classified as they are."""


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
