"""Augmentation of training windows, on batches, on any device, with any number of bands.

In: band values (B, C, R, R) and labels (B, R, R). Out: the same, S pixels wide. Coarser views, which are rotated when
they are read, get the colours of their windows. All randomness comes from a generator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from geoseg.models.data_mask import holds_data, stand_ins
from geoseg.spec import IGNORE, AugmentSpec
from geoseg.training.windows.colour_changes import Colors, Variation, uniform
from geoseg.training.windows.resampling import resample

HOLE_SIDES = 0.1, 1 / 3
"""Shortest and longest side of a cut-out rectangle, as shares of the window's."""
MIXED_SIDES = 0.25, 0.75
"""The same for a rectangle that is pasted from another window."""
ROUNDING = 2e-6
"""Deviation of resampled fill from its value, as a share of the range of values."""


class Augmented(NamedTuple):
    """A batch of windows S pixels wide, and its views."""

    image: Tensor
    """Band values (B, C, S, S), float32."""
    labels: Tensor
    """Class indexes (B, S, S), int64."""
    views: tuple[Tensor, ...]
    """Per level: band values and the share that holds data (B, C + 1, n, n)."""
    plain: Tensor | None
    """The image with its own colours, sharp and without noise, where that is asked for."""


@dataclass(frozen=True)
class Augment:
    """Rotates, mirrors, scales and recolours a batch."""

    spec: AugmentSpec
    """Strengths and probabilities."""
    low: float
    """Lowest band value, which becomes 0 while colours are varied."""
    high: float
    """Highest band value, which becomes 1."""
    fill: Tensor
    """Band values (C,) of pixels outside of what was read."""
    visible: tuple[int, ...] | None = None
    """Indexes of the bands of visible light, whose saturation is varied; None means all."""
    keeps_plain: bool = False
    """Whether the windows are also given with their own colours."""
    keeps_fill: bool = False
    """Whether pixels without data, which have the value `fill` in all bands, keep it while colours are varied."""

    def __call__(self, image: Tensor, labels: Tensor, side: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch (B, C, R, R), (B, R, R) of any types and crop it to `side` pixels, float32 and int64."""
        matrices = draw_matrices(self.spec, len(image), side / image.shape[-1], generator)
        return self.with_views(image, labels, matrices, (), side, generator)[:2]

    def with_views(
        self,
        image: Tensor,
        labels: Tensor,
        matrices: Tensor,
        views: Sequence[Tensor],
        side: int,
        generator: Generator,
    ) -> Augmented:
        """Augment a batch whose matrices are drawn already, and recolour its views (B, C + 1, n, n) likewise.

        A view's last channel, the share of each pixel that holds data, is unchanged. Only the window is blurred, noisy
        or cut out: averages over a context pixel show little of that.
        """
        fill = self.fill.to(image.device, torch.float32)
        image, labels = resample(image, labels, matrices, side, fill)
        own = image.clone() if self.keeps_plain or self.keeps_fill else image
        colors = self._vary(image, generator)
        image = self._kept(image, own)
        plain = own if self.keeps_plain else None
        if self.spec.cutmix:
            patches = draw_rectangles(self.spec.cutmix, len(image), side, MIXED_SIDES, generator)
            plain = None if plain is None else plain.where(~patches.unsqueeze(1), plain.roll(1, 0))
            image, labels = paste(image, labels, patches, image.roll(1, 0), labels.roll(1, 0))
        if self.spec.cutout:
            holes = draw_rectangles(self.spec.cutout, len(image), side, HOLE_SIDES, generator)
            image, labels = paste(image, labels, holes, fill.view(1, -1, 1, 1), torch.full_like(labels, IGNORE))
        seen = views if colors is None else [self._recolored(view, colors) for view in views]
        return Augmented(image, labels, tuple(seen), plain)

    def recolored(self, image: Tensor, generator: Generator) -> Tensor:
        """Vary colours, sharpness and noise of band values (B, C, h, w); the strengths are those of the settings."""
        varied = image.to(torch.float32, copy=True)
        self._vary(varied, generator)
        return self._kept(varied, image)

    def _vary(self, image: Tensor, generator: Generator) -> Colors | None:
        """Vary colours, sharpness and noise in place; return the change of colours, if there is any."""
        variation = Variation.of((len(image), image.shape[1]), self.spec, generator, self.visible)
        return variation.vary_(image, self.low, self.high, generator)

    def _recolored(self, view: Tensor, colors: Colors) -> Tensor:
        reach = self.high - self.low
        values = colors((view[:, :-1] - self.low).div_(reach)).clamp_(0, 1).mul_(reach).add_(self.low)
        if self.keeps_fill:
            values = values.where(view[:, -1:] > 0, view[:, :-1])
        return torch.cat([values, view[:, -1:]], dim=1)

    def _kept(self, varied: Tensor, own: Tensor) -> Tensor:
        """Varied band values (B, C, h, w), where pixels without data have their own, if they are to keep these."""
        if not self.keeps_fill:
            return varied
        fill = self.fill.to(own.device, torch.float32)
        rounding = ROUNDING * (self.high - self.low + fill.abs().max())
        return varied.where(holds_data(own, stand_ins(fill, is_whole=self.high - self.low > 1), rounding), own)


def draw_matrices(spec: AugmentSpec, count: int, share: float, generator: Generator) -> Tensor:
    """Draw affine matrices (B, 2, 3) from the window to what was read, coordinates of both from -1 to 1.

    Args:
        spec: strengths and probabilities.
        count: B.
        share: side of the window over the side that was read.
        generator: source of all randomness.
    """
    warped = uniform(generator, count) < spec.warp
    angle = _d4_angles(spec, count, generator) + warped * _between(-1, 1, generator, count) * math.radians(
        spec.turn_deg
    )
    mirror = 1 - 2 * (uniform(generator, count) < 0.5).float() * spec.d4
    scale = torch.exp(warped * _between(math.log(spec.scale[0]), math.log(spec.scale[1]), generator, count)) * share
    cos, sin, zero = torch.cos(angle) * scale, torch.sin(angle) * scale, torch.zeros_like(angle)
    return torch.stack([cos * mirror, -sin, zero, sin * mirror, cos, zero], dim=1).view(-1, 2, 3)


def draw_rectangles(share: float, count: int, side: int, sides: tuple[float, float], generator: Generator) -> Tensor:
    """Draw masks (B, S, S): one rectangle in a `share` of the windows, none in the others.

    Args:
        share: probability of a rectangle.
        count: B.
        side: S.
        sides: shortest and longest side of a rectangle, as shares of the window's.
        generator: source of all randomness.
    """
    chosen = uniform(generator, count) < share
    lengths = _between(*sides, generator, 2 * count).view(2, count) * side
    starts = uniform(generator, 2, count) * (side - lengths)
    places = torch.arange(side, device=generator.device) + 0.5
    rows, cols = (places > starts.unsqueeze(2)) & (places < (starts + lengths).unsqueeze(2))
    masks: Tensor = chosen.view(-1, 1, 1) & rows.unsqueeze(2) & cols.unsqueeze(1)
    return masks


def paste(image: Tensor, labels: Tensor, masks: Tensor, other: Tensor, other_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the masked pixels of a batch by those of another, image and labels alike."""
    return image.where(~masks.unsqueeze(1), other), labels.where(~masks, other_labels)


def _d4_angles(spec: AugmentSpec, count: int, generator: Generator) -> Tensor:
    quarters = torch.randint(4, (count,), generator=generator, device=generator.device)
    return quarters * (math.pi / 2) * spec.d4


def _between(low: float, high: float, generator: Generator, count: int) -> Tensor:
    return low + (high - low) * uniform(generator, count)
