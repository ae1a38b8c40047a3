"""What `--rescale auto` stands for: the brightness of a scene brought to that of a model's training imagery.

In: the bands of a scene, a model. Out: a rescaling of all of its values, or none. It is found once for a scene, so that
neighbouring windows are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.brightness import Bands, rescale_for, sample_squares, unlike_brightness
from geoseg.raster.scaling import Change, Rescaling
from geoseg.spec import ModelSpec


@dataclass(frozen=True)
class FittingBrightness:
    """A change of brightness that a model needs."""

    brightness: float
    """How many times as bright the scene is as the training imagery."""
    rescale: tuple[float, float]
    """LOW and HIGH of the same change."""
    change: Rescaling
    """The change."""

    @property
    def line(self) -> str:
        """What is done, and how to leave it."""
        low, high = self.rescale
        return (
            f"the scene is {self.brightness:.2f} times as bright as the model's training imagery of the same colours: "
            f"its values are brought to that, as by --rescale {low:g},{high:g}; --rescale none leaves them"
        )


def fitting_brightness(bands: Bands, model: ModelSpec, change: Change | None) -> FittingBrightness | None:
    """The change of brightness that a scene needs for a model; None where it needs none, or none is known.

    Args:
        bands: the scene's bands in the model's order.
        model: the model.
        change: conversion that the bands make: of values that are converted to physical quantities none is changed.

    Raises:
        SceneError: if the file is damaged in one of the places that are read.
    """
    if model.brightness is None or change is not None:
        return None
    brightness = unlike_brightness(sample_squares(bands), model.brightness, model.dtype)
    if brightness is None:
        return None
    rescale = rescale_for(brightness, model.dtype)
    return FittingBrightness(brightness, rescale, Rescaling.of(*rescale, HIGHEST[model.dtype]))
