"""The networks of a CycleGAN: generators of both directions, and discriminators of both looks.

In: normalised windows of both regions. Out: windows in the look of the other region, and losses.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.training.methods.discriminator import Discriminator, Judged, make_discriminator

DISCRIMINATOR_CHANNELS = 32, 64, 128, 1
"""Of the four convolutions of a discriminator, each of whose judgements is of 46 px."""

NOISE = 0.3
"""Standard deviation of the noise in what discriminators see, in that of a band."""


class CycleLosses(NamedTuple):
    """Losses of a batch, scalars, each the sum of both directions."""

    deceiving: Tensor
    """Of generators, whose windows are to be taken for those of the other region."""
    cycle: Tensor
    """Mean absolute change of windows that are redrawn there and back."""
    identity: Tensor
    """Mean absolute change of windows that have the look already."""
    judging: Tensor
    """Of discriminators; 2 ln 2, about 1.39, where they cannot know which window is redrawn."""


class CycleGan(nn.Module):
    """Redraws labelled windows in the look of the target (`to_target`), and back (`to_source`)."""

    def __init__(self, bands: int, channels: int, blocks: int):
        super().__init__()
        self.to_target, self.to_source = (Generator(bands, channels, blocks) for _ in range(2))
        self.of_target, self.of_source = (
            Discriminator(_Noise(), *make_discriminator(bands, DISCRIMINATOR_CHANNELS)) for _ in range(2)
        )

    def losses(self, source: Judged, target: Judged) -> tuple[CycleLosses, Tensor]:
        """Losses of windows of both regions, and those of the source in the look of the target (B, C, h, w).

        Windows are 0 where they hold no data, and stay so.
        """
        there = Judged(self.to_target(source.maps) * source.known.unsqueeze(1), source.known)
        back = Judged(self.to_source(target.maps) * target.known.unsqueeze(1), target.known)
        losses = CycleLosses(
            self.of_target.deceiving_loss(there) + self.of_source.deceiving_loss(back),
            _change(self.to_source(there.maps), source) + _change(self.to_target(back.maps), target),
            _change(self.to_target(target.maps), target) + _change(self.to_source(source.maps), source),
            self.of_target.judging_loss(target, there) + self.of_source.judging_loss(source, back),
        )
        return losses, there.maps


class Generator(nn.Module):
    """Adds to normalised windows (B, C, h, w) what they lack of a look; at first nothing."""

    def __init__(self, bands: int, channels: int, blocks: int):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(bands, channels, kernel_size=7, stride=2, padding=3, padding_mode="reflect"),
            *_normalised(channels),
        )
        self.blocks = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        self.last = nn.Conv2d(channels + bands, bands, kernel_size=3, padding=1, padding_mode="reflect")
        nn.init.zeros_(self.last.weight)
        self.last.bias = nn.Parameter(torch.zeros(bands))

    def forward(self, image: Tensor) -> Tensor:
        """Redraw windows."""
        features = self.blocks(self.first(image))
        spread = functional.interpolate(features, list(image.shape[-2:]), mode="bilinear", align_corners=False)
        redrawn: Tensor = image + self.last(torch.cat([spread, image], dim=1))
        return redrawn


class _Noise(nn.Module):
    """Adds noise, which keeps a discriminator from being certain of all that lies between two looks."""

    def forward(self, image: Tensor) -> Tensor:
        """Add noise to normalised windows."""
        return image + NOISE * torch.randn_like(image)


class _Block(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, padding_mode="reflect"),
            *_normalised(channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Add the convolved features."""
        added: Tensor = features + self.layers(features)
        return added


def _normalised(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)


def _change(redrawn: Tensor, windows: Judged) -> Tensor:
    """Mean absolute difference at known pixels."""
    change = (redrawn - windows.maps).float().abs().mean(dim=1)
    return (change * windows.known).sum() / windows.known.sum().clamp(min=1)
