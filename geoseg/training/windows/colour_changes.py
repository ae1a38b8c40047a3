"""Colours, sharpness and noise of training windows, varied on any device with any number of bands.

In: band values (B, C, h, w). Out: the same, overwritten. What changes is drawn for a whole batch; on a CPU it is then
made window by window, each of which fits into the processor's cache, as a batch does not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from kornia.filters import gaussian_blur2d
from torch import Generator, Tensor

from geoseg.spec import AugmentSpec

BLURRED = 0.2
"""Share of the windows that are blurred."""
NOISY = 0.3
"""Share of the windows that get noise."""
_TINY = 1e-3
"""Least gamma."""


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
        return self.mixed(_raise(values.clamp(0, 1), self.gamma))

    def mixed(self, values: Tensor) -> Tensor:
        """Values (B, C, h, w) after gamma, with all other changes."""
        return torch.baddbmm(self.added, self.mixture, values.flatten(2)).view_as(values)


@dataclass(frozen=True)
class ColorDraw:
    """How the colours of the windows of a batch are to vary, whatever they show."""

    gamma: Tensor
    """Exponents (B, C, 1, 1)."""
    contrast: Tensor
    """Factors of the distance from the band's mean (B, C, 1)."""
    brightness: Tensor
    """Factors of the band's mean (B, C, 1)."""
    shift: Tensor
    """Offsets (B, C, 1), e.g. haze."""
    mixture: Tensor
    """Factors of all bands in each band (B, C, C): saturation, then leakage."""

    @classmethod
    def of(
        cls, shape: tuple[int, int], spec: AugmentSpec, generator: Generator, visible: Sequence[int] | None = None
    ) -> Self:
        """Draw changes for B windows of C bands; the saturation of visible bands varies, None means all."""
        count, bands = shape
        gamma = _factor(spec.gamma, spec.band_gain, shape, generator).clamp(min=_TINY)
        contrast = _factor(spec.contrast, spec.band_gain, shape, generator)
        brightness = _factor(spec.brightness, spec.band_gain, shape, generator)
        shift = spec.band_shift * normal(generator, count, bands, 1)
        own = torch.eye(bands, device=generator.device)
        if bands == 1:
            return cls(gamma.unsqueeze(3), contrast, brightness, shift, own.expand(count, 1, 1))
        saturation = _factor(spec.saturation, 0.0, shape, generator)[:, :1]
        leak = spec.band_mix * normal(generator, count, bands, bands)
        mixture = (own + leak) @ (saturation * own + (1 - saturation) * _to_mean(bands, visible, own))
        return cls(gamma.unsqueeze(3), contrast, brightness, shift, mixture)

    def at(self, part: slice) -> ColorDraw:
        """The changes of some windows."""
        return ColorDraw(
            self.gamma[part], self.contrast[part], self.brightness[part], self.shift[part], self.mixture[part]
        )

    def colors(self, mean: Tensor) -> Colors:
        """The changes of windows whose bands have means (B, C, 1) after gamma.

        They are contrast about the band's mean, brightness and haze, then saturation about the mean of the visible
        bands, then leakage of each band into the others; all are linear, and one matrix product is cheaper than seven
        passes over the pixels.
        """
        added = mean * (self.brightness - self.contrast) + self.shift
        return Colors(self.gamma, self.mixture * self.contrast.transpose(1, 2), self.mixture @ added)


@dataclass(frozen=True)
class Variation:
    """How windows of a batch are to vary besides their place; the noise of a pixel is drawn when it is added."""

    colors: ColorDraw | None
    """Changes of colours, if there are any."""
    blurred: Tensor
    """Which windows are blurred (B,), bool."""
    sigma: Tensor
    """Standard deviations of the blur (B, 2), in pixels."""
    kernel_px: int
    """Side of the blur's kernel."""
    noisy: Tensor
    """Which windows get noise (B,), bool."""
    strength: Tensor
    """Standard deviations of the noise (B,)."""

    @classmethod
    def of(
        cls, shape: tuple[int, int], spec: AugmentSpec, generator: Generator, visible: Sequence[int] | None = None
    ) -> Self:
        """Draw the variation of B windows of C bands."""
        count, _ = shape
        colors = ColorDraw.of(shape, spec, generator, visible) if spec.varies_colours else None
        blurred = uniform(generator, count) < BLURRED * (spec.blur_px > 0)
        sigma = (uniform(generator, count, 2) * spec.blur_px).clamp(min=0.1)
        kernel_px = 2 * math.ceil(2 * spec.blur_px) + 1
        if not spec.noise:
            none = torch.zeros(count, device=generator.device)
            return cls(colors, blurred, sigma, kernel_px, none > 0, none)
        noisy = uniform(generator, count) < NOISY
        return cls(colors, blurred, sigma, kernel_px, noisy, spec.noise * uniform(generator, count))

    def at(self, part: slice) -> Variation:
        """The variation of some windows."""
        colors = None if self.colors is None else self.colors.at(part)
        blur = self.blurred[part], self.sigma[part], self.kernel_px
        return Variation(colors, *blur, self.noisy[part], self.strength[part])

    def vary_(self, image: Tensor, low: float, high: float, generator: Generator) -> Colors | None:
        """Vary band values (B, C, h, w) in place, and keep them from `low` to `high`.

        Args:
            image: band values, float32.
            low: lowest value, which becomes 0 while colours are varied.
            high: highest value, which becomes 1.
            generator: source of the noise.

        Returns:
            The change of colours, if there is any.
        """
        each = 1 if image.device.type == "cpu" else len(image)
        parts = [slice(start, start + each) for start in range(0, len(image), each)]
        changes = []
        for part in parts:
            values = image[part].sub_(low).div_(high - low)
            varied, colors = self.at(part)._varied(values, generator)
            image[part] = varied.clamp_(0, 1).mul_(high - low).add_(low)
            changes.append(colors)
        joined = zip(*((one.gamma, one.mixture, one.added) for one in changes if one is not None), strict=True)
        return None if self.colors is None else Colors(*map(torch.cat, joined))

    def _varied(self, values: Tensor, generator: Generator) -> tuple[Tensor, Colors | None]:
        """Values from 0 to 1 (B, C, h, w) varied, and the change of colours; the values may be overwritten."""
        colors = None
        if self.colors is not None:
            values = _raise(values.clamp_(0, 1), self.colors.gamma)
            colors = self.colors.colors(values.mean(dim=(2, 3)).unsqueeze(2))
            values = colors.mixed(values)
        if self.blurred.any():
            sharp, size = values[self.blurred], (self.kernel_px, self.kernel_px)
            values[self.blurred] = gaussian_blur2d(sharp, size, self.sigma[self.blurred])
        if self.noisy.any():
            noise = normal(generator, *values[self.noisy].shape)
            values[self.noisy] += noise.mul_(self.strength[self.noisy].view(-1, 1, 1, 1))
        return values, colors


def uniform(generator: Generator, *shape: int) -> Tensor:
    """Random numbers from 0 to 1."""
    return torch.rand(shape, generator=generator, device=generator.device)


def normal(generator: Generator, *shape: int) -> Tensor:
    """Random numbers of mean 0 and standard deviation 1."""
    return torch.randn(shape, generator=generator, device=generator.device)


def _raise(values: Tensor, exponents: Tensor) -> Tensor:
    """Raise values from 0 to 1 to powers above 0, in place; torch's own power takes five times as long on a CPU."""
    return values.log_().mul_(exponents).exp_()


def _to_mean(bands: int, visible: Sequence[int] | None, own: Tensor) -> Tensor:
    """Matrix (C, C) that makes each visible band their mean, and leaves the others."""
    chosen = list(range(bands)) if visible is None else list(visible)
    matrix = own.clone()
    if chosen:
        matrix[chosen] = 0.0
        matrix[torch.tensor(chosen).unsqueeze(1), torch.tensor(chosen)] = 1 / len(chosen)
    return matrix


def _factor(spread: float, band_spread: float, shape: tuple[int, int], generator: Generator) -> Tensor:
    """Factors (B, C, 1) about 1: one for all bands of a window times one for each band."""
    count, bands = shape
    common = spread * normal(generator, count, 1, 1)
    return torch.exp(common + band_spread * normal(generator, count, bands, 1))
