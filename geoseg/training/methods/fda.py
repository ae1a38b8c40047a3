"""Fourier domain adaptation: labelled windows with the low frequencies of the target, and few unsure pixels in that.

Yang and Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020, section 3: one network, before
self-training; with that, it is `self_training` with `style: fourier`. What differs is said in `styles/fourier.py` and
`minent.py`.

In: labelled windows and windows of the target. Out: the loss of both.
"""

from __future__ import annotations

from pydantic import Field

from geoseg.training.methods.minent import MinEnt, MinEntSettings
from geoseg.training.styles import StyleSetting
from geoseg.training.styles.fourier import FourierSettings


class FdaSettings(MinEntSettings):
    """Parameters of the method, as they are written below `method` in a config."""

    weight: float = Field(default=0.005, ge=0, le=1000)
    """Weight of the entropy of windows of the target; that of the labels' loss is 1."""
    eta: float = Field(default=2.0, gt=0, le=10)
    """Exponent of the squared entropy of a pixel: 0.5 minimises the entropy itself."""
    style: StyleSetting = FourierSettings()
    """How labelled windows are given the look of data.target: {by: fourier, betas: [0.01, 0.05]}, or another."""


class Fda(MinEnt):
    """Minimises the loss of labelled windows with the target's amplitudes, plus the target's weighted entropy."""

    Settings = FdaSettings
    needs_target = True
