"""A discriminator: it judges of which of two kinds maps are, and what makes one kind learns to deceive it.

In: maps of both kinds and their known pixels. Out: the losses of discriminator and maker, neither of which has a
gradient in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

CHANNELS = 64, 128, 256, 512, 1
"""Of the five convolutions of DCGAN's discriminator, as it is used for maps of classes."""
SLOPE = 0.2
"""Of activations, below 0."""


class Judged(NamedTuple):
    """Maps of one kind."""

    maps: Tensor
    """(B, C, h, w)."""
    known: Tensor
    """Pixels that count (B, h, w), bool; maps are 0 elsewhere when they are judged."""


class Discriminator(nn.Sequential):
    """Layers that make logits (B, 1, h', w') of maps (B, C, h, w): above 0 for wanted ones, below for others."""

    def judging_loss(self, wanted: Judged, others: Judged) -> Tensor:
        """Loss of the discriminator, the mean of both kinds, without gradients for the maps."""
        losses = [
            _of_kind(self.judge(Judged(one.maps.detach(), one.known)), kind, one.known)
            for one, kind in ((wanted, 1.0), (others, 0.0))
        ]
        return (losses[0] + losses[1]) / 2

    def deceiving_loss(self, others: Judged) -> Tensor:
        """Loss of what makes the maps, which are to be taken for wanted ones.

        The layers are called with constants in place of their parameters, which get no gradient.
        """
        frozen = {name: parameter.detach() for name, parameter in self.named_parameters()}
        return _of_kind(self._spread(functional_call(self, frozen, (_hidden(others),)), others), 1.0, others.known)

    def judge(self, judged: Judged) -> Tensor:
        """Logits (B, h, w) of being wanted."""
        return self._spread(self(_hidden(judged)), judged)

    def _spread(self, logits: Tensor, judged: Judged) -> Tensor:
        size = list(judged.maps.shape[-2:])
        return functional.interpolate(logits.float(), size, mode="bilinear", align_corners=False).squeeze(1)


def make_discriminator(given: int, channels: Sequence[int] = CHANNELS) -> Discriminator:
    """Convolutions of 4 × 4 and stride 2: maps (B, C, h, w) -> logits (B, 1, h / 2^n, w / 2^n), 2^n px and more."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((given, *channels), channels, strict=False):
        layers += [nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
    return Discriminator(*layers[:-1])


def _hidden(judged: Judged) -> Tensor:
    return judged.maps * judged.known.unsqueeze(1)


def _of_kind(logits: Tensor, kind: float, known: Tensor) -> Tensor:
    """Mean over known pixels (B, h, w) of the cross-entropy of logits (B, h, w) against 1, wanted, or 0."""
    loss = functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, kind), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
