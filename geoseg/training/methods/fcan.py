"""Adversarial features: those of another region are to be taken for those of labelled windows.

Zhang, Qiu, Yao, Liu and Mei, "Fully Convolutional Adaptation Networks for Semantic Segmentation", CVPR 2018, section
3: a discriminator judges pixel by pixel, by convolutions of several rates (ASPP), of which region decoded features
are; the network learns features which it cannot judge, with a fifth of the weight of the labels (λ = 5). The paper's
other half, which redraws images in the style of the target, is a method of its own here. What differs: the network
learns to have target features taken for labelled ones (the loss of Goodfellow et al. 2014 that does not saturate)
instead of the minimax loss of both kinds; features are averaged to an eighth of the window first, the paper's
resolution; the discriminator is trained by the optimizer of the run, in the same step; pixels without data do not
count.

In: labelled windows and windows of another region. Out: the losses of network and discriminator, neither of which has a
gradient in the other. The discriminator is left out of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.decoded_features import DecodedFeatures
from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.discriminator import SLOPE, Discriminator, Judged
from geoseg.training.methods.method import Setup, StepLoss
from geoseg.training.methods.unlabelled import FromUnlabelled, UnlabelledSettings, logits_of

STRIDE = 8
"""Pixels of a window for each of the judged features, along each side."""
RATES = 1, 2, 3, 4
"""Of the dilated convolutions."""
KNOWN_SHARE = 0.5
"""Least share of the pixels of a feature that are known, for it to count."""


class FcanSettings(UnlabelledSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=0.2, ge=0, le=1000)
    """Weight of deceiving the discriminator; that of the labelled windows is 1."""
    channels: int = Field(default=128, ge=1, le=4096)
    """Channels of each of the discriminator's four dilated convolutions."""


class Fcan(FromUnlabelled):
    """Minimises the loss of labelled windows, that of deceiving the discriminator, and the discriminator's own."""

    Settings = FcanSettings
    needs_target = True
    sees_unlabelled = True  # else pixels without a label would be a mark of labelled windows
    needs_features = True
    figures: ClassVar[tuple[str, ...]] = ("labelled", "unlabelled", "discriminator")

    def __init__(self, setup: Setup, settings: FcanSettings):
        super().__init__(setup, settings)
        self.discriminator = make_feature_discriminator(setup.network.body.channels, settings.channels)
        self._decoded = DecodedFeatures(setup.network.body)

    @property
    def opponents(self) -> Sequence[nn.Module]:
        """The discriminator, and those of the style."""
        return (self.discriminator, *super().opponents)

    def unlabelled_loss(
        self, labelled: LabelledWindows, unlabelled: LabelledWindows, generator: torch.Generator
    ) -> StepLoss:
        """Loss of deceiving the discriminator by the features of target windows."""
        own = self._features(labelled.holds_data)
        logits_of(self.setup.network, unlabelled.image)
        others = self._features(unlabelled.unlabelled)
        judging = self.discriminator.judging_loss(own, others)
        return StepLoss(self.discriminator.deceiving_loss(others), {"discriminator": judging}, judging)

    def _features(self, known: Tensor) -> Judged:
        """Decoded features of the windows of known pixels (B, S, S), the first of the batch forwarded last."""
        size = max(1, known.shape[-2] // STRIDE), max(1, known.shape[-1] // STRIDE)
        features = self._decoded.take(len(known), known.shape[-2:])
        shares = functional.adaptive_avg_pool2d(known.float().unsqueeze(1), size).squeeze(1)
        return Judged(functional.adaptive_avg_pool2d(features, size), shares >= KNOWN_SHARE)


def make_feature_discriminator(given: int, channels: int) -> Discriminator:
    """Dilated convolutions side by side, then one of single pixels: features (B, L, h, w) -> logits (B, 1, h, w)."""
    return Discriminator(_Pyramid(given, channels), nn.Conv2d(channels * len(RATES), 1, kernel_size=1))


class _Pyramid(nn.Module):
    """Convolutions of several rates side by side (Chen et al. 2017): features (B, L, h, w) -> (B, 4 C, h, w)."""

    def __init__(self, given: int, channels: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(given, channels, 3, padding=rate, dilation=rate) for rate in RATES)

    def forward(self, features: Tensor) -> Tensor:
        """Convolve and activate features."""
        return functional.leaky_relu(torch.cat([layer(features) for layer in self.layers], dim=1), SLOPE)
