"""Base class of all networks: normalisation, then a body. In: band values (B, C, H, W). Out: logits (B, K, H, W)."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from geoseg.models.byte_normalization import is_looked_up, looked_up
from geoseg.models.families.body import Body
from geoseg.models.surroundings import NO_CONTEXT, Context, Views
from geoseg.models.training_batch import Criterion, LabelledWindows
from geoseg.spec import NormalizationSpec


class Segmenter(Protocol):
    """Anything that classifies windows: a bundle's module, an ensemble, a fake in a test."""

    def __call__(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Turn band values (B, C, H, W), float32, or uint8 for geoseg's own networks, into logits (B, K, H, W).

        With an empty context, a network with a branch is the local network alone.
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
        """Normalise band values (B, C, H, W); they come out laid out as networks compute, channels last."""
        if is_looked_up(image):
            return looked_up(image, self.mean, self.std)
        values = (image.float() - self.mean).div_(self.std)  # laid out band by band, this takes half the time
        return values.contiguous(memory_format=torch.channels_last)


class SegmentationNetwork(nn.Module):
    """Normalisation, then a body: band values (B, C, H, W) -> logits (B, K, H, W)."""

    def __init__(self, normalize: Normalize, body: Body):
        super().__init__()
        self.normalize = normalize
        self.body = body

    def forward(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W); `context` is for networks that have that branch."""
        logits: Tensor = self.body(self.normalize(image))
        return logits

    def see(self, views: Views) -> Context:
        """Compute the context of windows from the views around them; empty for a network without a branch."""
        return NO_CONTEXT

    def start_branch(self, given: str) -> str:
        """Start a fresh branch from the weights of the body, which have been loaded; by default it stays as it is.

        Args:
            given: kind of the branch of the network that had these weights.

        Returns:
            What is doubtful about that network, for the user; else nothing.
        """
        return ""

    @property
    def frozen_parts(self) -> tuple[nn.Module, ...]:
        """Modules whose weights and statistics stay fixed during training."""
        return ()

    def frozen_outputs(self, windows: LabelledWindows) -> tuple[Tensor, ...]:
        """What the frozen parts make of a batch and its views, for `LabelledWindows.frozen`; each (B, ...).

        It depends on no weight that is trained, so that it can be computed once for windows that are seen again.
        """
        return ()

    def training_loss(
        self, windows: LabelledWindows, criterion: Criterion, averaged: SegmentationNetwork, generator: torch.Generator
    ) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            windows: training windows and their labels.
            criterion: the losses of logits against labels. Logits of the windows are compared once with
                `windows.labels` itself, by which a criterion knows them from those of views.
            averaged: the running mean of this network's weights, a network of the same class.
            generator: source of all randomness.
        """
        logits: Tensor = self(windows.image)
        return criterion.of_windows(logits, windows.labels)
