"""What `--rescale auto` stands for: the brightness of a scene brought to that of a model's training imagery.

In: the bands of a scene, a model. Out: a rescaling of all of its values, or none. It is found once for a scene, so that
neighbouring windows are treated alike.

A factor is right where exposure differs. Under haze a scene is brighter, too, and has less contrast: divided by that
factor it has still less, and is classified worse than as it is. So a scene must look like the training imagery once its
brightness is changed, as far as the model knows what that looks like.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.brightness import Bands, rescale_for, sample_squares, unlike_brightness
from geoseg.raster.imagery import CROP_PX, describe_bands, distances
from geoseg.raster.scaling import Change, Rescaling
from geoseg.raster.validity import spread_windows
from geoseg.spec import ModelSpec
from geoseg.spec.imagery import SpreadSpec

NEAR = 0.5
"""Median distance of a scene's crops from the training imagery up to which it looks like that, as a share of the
distance within which nearly all crops of its own region are."""
LEAST_GAIN = 0.5
"""Share of the distance before that is left where a factor is what differs, at most: scenes of one kind of land are
farther away than others, in any brightness."""


@dataclass(frozen=True)
class FittingBrightness:
    """A change of brightness that a model needs."""

    brightness: float
    """How many times as bright the scene is as the training imagery."""
    rescale: tuple[float, float]
    """LOW and HIGH of the same change."""
    change: Rescaling
    """The change."""
    is_enough: bool = True
    """Whether the scene looks like the training imagery with it; else it is to be left as it is."""

    @property
    def line(self) -> str:
        """What is done, and how to leave it; or why nothing is."""
        low, high = self.rescale
        if not self.is_enough:
            return (
                f"the scene is {self.brightness:.2f} times as bright as the model's training imagery of the same "
                "colours, and would look unlike it in that brightness, too, as under haze: its values are left as they "
                f"are; try --match training, or --rescale {low:g},{high:g} all the same"
            )
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
    change = Rescaling.of(*rescale, HIGHEST[model.dtype])
    spread = None if model.imagery is None else model.imagery.bands
    is_enough = spread is None or _brings_near(bands, brightness, HIGHEST[model.dtype], spread)
    return FittingBrightness(brightness, rescale, change, is_enough)


def _brings_near(bands: Bands, brightness: float, highest: float, spread: SpreadSpec) -> bool:
    """Whether crops of a scene lie among those of the training imagery once they are divided by a brightness."""
    crops = [bands.read(window) for window in spread_windows(bands.height, bands.width, CROP_PX)]
    held = [(values, valid) for values, valid in crops if valid.any()]
    if not held:
        return True
    before = [describe_bands(values, valid) for values, valid in held]
    after = [describe_bands(np.minimum(values / brightness, highest), valid) for values, valid in held]
    far, near = (float(np.median(distances(np.array(found), spread))) for found in (before, after))
    return near <= max(NEAR * spread.reach, min(spread.reach, LEAST_GAIN * far))
