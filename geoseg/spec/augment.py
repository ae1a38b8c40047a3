"""Settings of how training windows are varied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from geoseg.spec.base import Spec

Scale = Annotated[float, Field(gt=0, le=10)]
STRONG_COLOURS: Mapping[str, float] = {
    "gamma": 0.5, "contrast": 0.5, "brightness": 0.5, "saturation": 0.8, "band_gain": 0.3, "band_shift": 0.15,
    "band_mix": 0.2, "noise": 0.06, "blur_px": 3.0,
}  # fmt: skip
"""Spreads of colours at full strength."""
COLOURS = "gamma", "contrast", "brightness", "saturation", "band_gain", "band_shift", "band_mix"
"""Spreads that make sense of bands that are colours alone."""


class AugmentSpec(Spec):
    """How training windows are varied; spreads are standard deviations, 0 turns a variation off.

    Colours are varied on values scaled so that the lowest and highest value of the set become 0 and 1.
    """

    d4: bool = True
    """Turn by quarter turns and mirror."""
    warp: float = Field(default=0.5, ge=0, le=1)
    """Share of the windows that are also turned freely and scaled."""
    turn_deg: float = Field(default=45.0, ge=0, le=180)
    """Largest free turn, in degrees."""
    scale: tuple[Scale, Scale] = (0.7, 1.4)
    """Smallest and largest size of a pixel on the earth, relative to the tiles'."""
    gamma: float = Field(default=0.25, ge=0)
    """Spread of the logarithm of gamma."""
    contrast: float = Field(default=0.2, ge=0)
    """Spread of the logarithm of the contrast."""
    brightness: float = Field(default=0.2, ge=0)
    """Spread of the logarithm of the brightness."""
    saturation: float = Field(default=0.3, ge=0)
    """Spread of the logarithm of the distance of each visible band from their mean; of all bands where no names say
    which are visible."""
    band_gain: float = Field(default=0.06, ge=0)
    """Spread of the logarithm of brightness, contrast and gamma of each band on its own."""
    band_shift: float = Field(default=0.03, ge=0)
    """Spread of an offset added to each band, e.g. haze."""
    band_mix: float = Field(default=0.05, ge=0)
    """Spread of the share of each band that leaks into each other one."""
    noise: float = Field(default=0.03, ge=0)
    """Largest standard deviation of noise per pixel."""
    blur_px: float = Field(default=1.4, ge=0)
    """Largest standard deviation of a Gaussian blur, in pixels."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """Share of the windows into which a rectangle of another window is pasted, with its labels (CutMix; French et al.
    2020), a quarter to three quarters of each side: its classes do not follow from its surroundings."""
    cutout: float = Field(default=0.0, ge=0, le=1)
    """Share of the windows from which a rectangle is cut, a tenth to a third of each side; it does not count."""
    randomise_colours: float = Field(default=0.0, ge=0, le=1)
    """Strength of colours at random, for regions, seasons and sensors that the training images do not show: raises each
    spread of gamma, contrast, brightness, saturation, bands, noise and blur to this share of a strong one, where it
    lies below that; pixels without data keep their values. 0 leaves all as they are."""
    mix_style: float = Field(default=0.0, ge=0, le=1)
    """Share of the batches in which windows take on some of each other's style (MixStyle; Zhou et al. 2021): mean and
    standard deviation of the features of the encoder's first stages, over pixels with data. With every method;
    scored and saved networks are not changed."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {self.scale[0]:g},{self.scale[1]:g}: give the smaller one first")
        return self

    @property
    def colours(self) -> AugmentSpec:
        """The same with spreads of colours raised to those of `randomise_colours`."""
        if not self.randomise_colours:
            return self
        strong = {name: self.randomise_colours * spread for name, spread in STRONG_COLOURS.items()}
        return self.model_copy(update={name: max(getattr(self, name), spread) for name, spread in strong.items()})

    @property
    def without_colours(self) -> AugmentSpec:
        """The same without any change of colours; noise and blur are left, which other values have, too."""
        return self.model_copy(update=dict.fromkeys((*COLOURS, "randomise_colours"), 0.0))

    @property
    def varies_colours(self) -> bool:
        """Whether any spread of colours is more than 0."""
        return any(getattr(self, name) for name in COLOURS)

    @property
    def keeps_fill(self) -> bool:
        """Whether pixels without data keep their values while colours vary."""
        return self.randomise_colours > 0 or self.mix_style > 0

    def read_side(self, window: int) -> int:
        """Side of the area to read for a window of a given side, with room for its scaling, in pixels.

        It exceeds the window by an even number: else the window's middle would lie between two pixels, and windows that
        are only turned by quarters would be blurred.
        """
        largest = max(1.0, self.scale[1]) if self.warp else 1.0
        return window + 2 * math.ceil(window * (largest - 1) / 2)
