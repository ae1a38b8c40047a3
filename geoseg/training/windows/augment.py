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
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor
from torch.nn import functional

from geoseg.models.data_mask import holds_data, stand_ins
from geoseg.spec import IGNORE, AugmentSpec

BLURRED = 0.2
"""Share of the windows that are blurred."""
NOISY = 0.3
"""Share of the windows that get noise."""
HOLE_SIDES = 0.1, 1 / 3
"""Shortest and longest side of a cut-out rectangle, as shares of the window's."""
MIXED_SIDES = 0.25, 0.75
"""The same for a rectangle that is pasted from another window."""
ROUNDING = 2e-6
"""Deviation of resampled fill from its value, as a share of the range of values."""
_TINY = 1e-3
"""Least gamma."""


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
        values, colors = self._scaled(image), None
        if self.spec.varies_colours:
            values, colors = recolor(values, self.spec, generator, self.visible)
        image = self._kept(self._unscaled(blur_and_noise(values, self.spec, generator)), own)
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
        values = self._scaled(image.clone())
        if self.spec.varies_colours:
            values = recolor(values, self.spec, generator, self.visible)[0]
        return self._kept(self._unscaled(blur_and_noise(values, self.spec, generator)), image)

    def _recolored(self, view: Tensor, colors: Colors) -> Tensor:
        values = self._unscaled(colors(self._scaled(view[:, :-1].clone())).clamp_(0, 1))
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

    def _scaled(self, image: Tensor) -> Tensor:
        return image.sub_(self.low).div_(self.high - self.low)

    def _unscaled(self, values: Tensor) -> Tensor:
        return values.mul_(self.high - self.low).add_(self.low)


@dataclass(frozen=True)
class Colors:
    """The change of colours of a batch: the same for all pixels of a window."""

    gamma: Tensor
    """Exponents (B, C or 1, 1, 1)."""
    mixture: Tensor
    """Factors of all bands in each band (B, C, C)."""
    added: Tensor
    """Offset of each band (B, C, 1)."""

    def __call__(self, values: Tensor) -> Tensor:
        """Recolour values from 0 to 1 (B, C, h, w)."""
        return _mix(values.clamp(0, 1).pow_(self.gamma), self.mixture, self.added)


def draw_matrices(spec: AugmentSpec, count: int, share: float, generator: Generator) -> Tensor:
    """Draw affine matrices (B, 2, 3) from the window to what was read, coordinates of both from -1 to 1.

    Args:
        spec: strengths and probabilities.
        count: B.
        share: side of the window over the side that was read.
        generator: source of all randomness.
    """
    warped = _uniform(generator, count) < spec.warp
    angle = _d4_angles(spec, count, generator) + warped * _between(-1, 1, generator, count) * math.radians(
        spec.turn_deg
    )
    mirror = 1 - 2 * (_uniform(generator, count) < 0.5).float() * spec.d4
    scale = torch.exp(warped * _between(math.log(spec.scale[0]), math.log(spec.scale[1]), generator, count)) * share
    cos, sin, zero = torch.cos(angle) * scale, torch.sin(angle) * scale, torch.zeros_like(angle)
    return torch.stack([cos * mirror, -sin, zero, sin * mirror, cos, zero], dim=1).view(-1, 2, 3)


def resample(image: Tensor, labels: Tensor, matrices: Tensor, side: int, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Resample a batch to `side`: the image bilinearly, its labels by the nearest pixel; outside: fill and IGNORE."""
    grid = functional.affine_grid(matrices.to(fill), [len(image), 1, side, side], align_corners=False)
    # Both are shifted so that pixels outside are zero, the only constant that grid_sample pads with.
    level = fill.view(1, -1, 1, 1)
    image = functional.grid_sample(image - level, grid, mode="bilinear", align_corners=False).add_(level)
    shifted = labels.unsqueeze(1).to(fill).sub_(IGNORE)
    labels = functional.grid_sample(shifted, grid, mode="nearest", align_corners=False).squeeze(1).round_().add_(IGNORE)
    return image, labels.long()


def draw_rectangles(share: float, count: int, side: int, sides: tuple[float, float], generator: Generator) -> Tensor:
    """Draw masks (B, S, S): one rectangle in a `share` of the windows, none in the others.

    Args:
        share: probability of a rectangle.
        count: B.
        side: S.
        sides: shortest and longest side of a rectangle, as shares of the window's.
        generator: source of all randomness.
    """
    chosen = _uniform(generator, count) < share
    lengths = _between(*sides, generator, 2 * count).view(2, count) * side
    starts = _uniform(generator, 2, count) * (side - lengths)
    places = torch.arange(side, device=generator.device) + 0.5
    rows, cols = (places > starts.unsqueeze(2)) & (places < (starts + lengths).unsqueeze(2))
    masks: Tensor = chosen.view(-1, 1, 1) & rows.unsqueeze(2) & cols.unsqueeze(1)
    return masks


def paste(image: Tensor, labels: Tensor, masks: Tensor, other: Tensor, other_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the masked pixels of a batch by those of another, image and labels alike."""
    return image.where(~masks.unsqueeze(1), other), labels.where(~masks, other_labels)


def vary_colors(values: Tensor, spec: AugmentSpec, generator: Generator) -> Tensor:
    """Vary gamma, contrast, brightness, haze, saturation, band mixture, sharpness and noise of values from 0 to 1."""
    return blur_and_noise(recolor(values, spec, generator)[0], spec, generator)


def recolor(
    values: Tensor, spec: AugmentSpec, generator: Generator, visible: Sequence[int] | None = None
) -> tuple[Tensor, Colors]:
    """Vary gamma, contrast, brightness, haze, saturation of visible bands and band mixture; return the figures, too."""
    values = values.clamp(0, 1)
    gamma = _factor(spec.gamma, spec.band_gain, values, generator).clamp(min=_TINY)
    values = values.pow_(gamma)
    mixture, added = _draw_mixture(values, spec, generator, visible)
    return _mix(values, mixture, added), Colors(gamma, mixture, added)


def blur_and_noise(values: Tensor, spec: AugmentSpec, generator: Generator) -> Tensor:
    """Blur some of the windows, add noise to some, and clip values to 0 to 1."""
    return _add_noise(_blur(values, spec.blur_px, generator), spec.noise, generator).clamp_(0, 1)


def _draw_mixture(
    values: Tensor, spec: AugmentSpec, generator: Generator, visible: Sequence[int] | None
) -> tuple[Tensor, Tensor]:
    """Factors of all bands in each band (B, C, C), and the offset of each band (B, C, 1).

    They are contrast about the band's mean, brightness and haze, then saturation about the mean of the visible bands,
    then leakage of each band into the others; all are linear, and one matrix product is cheaper than seven passes over
    the pixels.
    """
    count, bands = values.shape[:2]
    mean = values.mean(dim=(2, 3)).unsqueeze(2)
    contrast = _factor(spec.contrast, spec.band_gain, values, generator).flatten(2)
    brightness = _factor(spec.brightness, spec.band_gain, values, generator).flatten(2)
    shift = spec.band_shift * _normal(generator, count, bands, 1)
    if bands == 1:
        return contrast, mean * (brightness - contrast) + shift
    own = torch.eye(bands, device=values.device)
    saturation = _factor(spec.saturation, 0.0, values, generator)[:, :1].flatten(2)
    leak = spec.band_mix * _normal(generator, count, bands, bands)
    mixture = (own + leak) @ (saturation * own + (1 - saturation) * _to_mean(bands, visible, own))
    return mixture * contrast.transpose(1, 2), mixture @ (mean * (brightness - contrast) + shift)


def _to_mean(bands: int, visible: Sequence[int] | None, own: Tensor) -> Tensor:
    """Matrix (C, C) that makes each visible band their mean, and leaves the others."""
    chosen = list(range(bands)) if visible is None else list(visible)
    matrix = own.clone()
    if chosen:
        matrix[chosen] = 0.0
        matrix[torch.tensor(chosen).unsqueeze(1), torch.tensor(chosen)] = 1 / len(chosen)
    return matrix


def _mix(values: Tensor, mixture: Tensor, added: Tensor) -> Tensor:
    return torch.baddbmm(added, mixture, values.flatten(2)).view_as(values)


def _blur(values: Tensor, largest_px: float, generator: Generator) -> Tensor:
    chosen = _uniform(generator, len(values)) < BLURRED
    sigma = (_uniform(generator, len(values), 2) * largest_px).clamp(min=0.1)
    if not largest_px or not chosen.any():
        return values
    size = 2 * math.ceil(2 * largest_px) + 1
    blurred = values.clone()
    blurred[chosen] = gaussian_blur2d(values[chosen], (size, size), sigma[chosen])
    return blurred


def _add_noise(values: Tensor, largest: float, generator: Generator) -> Tensor:
    if not largest:
        return values
    chosen = _uniform(generator, len(values)) < NOISY
    strength = largest * _uniform(generator, len(values))[chosen].view(-1, 1, 1, 1)
    noisy = values.clone()
    noisy[chosen] += strength * _normal(generator, *values[chosen].shape)
    return noisy


def _factor(spread: float, band_spread: float, values: Tensor, generator: Generator) -> Tensor:
    """Factors (B, C, 1, 1) about 1: one for all bands of a window times one for each band."""
    count, bands = values.shape[:2]
    common = spread * _normal(generator, count, 1, 1, 1)
    return torch.exp(common + band_spread * _normal(generator, count, bands, 1, 1))


def _d4_angles(spec: AugmentSpec, count: int, generator: Generator) -> Tensor:
    quarters = torch.randint(4, (count,), generator=generator, device=generator.device)
    return quarters * (math.pi / 2) * spec.d4


def _between(low: float, high: float, generator: Generator, count: int) -> Tensor:
    return low + (high - low) * _uniform(generator, count)


def _uniform(generator: Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _normal(generator: Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)
