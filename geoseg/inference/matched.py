"""`--match`: the values of a scene brought to those of a reference raster, by the same curves in all windows.

In: a reference with the bands of a model, and the bands of a scene. Out: a curve per band, found in one pass over both
rasters, and notices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from geoseg.core.errors import ModelError, SceneError, SpecError
from geoseg.core.wording import pixels_in_words
from geoseg.raster.bands.matching import BandChoice, choose_bands, describe_bands, fits_dtype
from geoseg.raster.curves import Curve, Curves, Floats
from geoseg.raster.distributions import MOST_PX, Distribution, find_distributions
from geoseg.raster.imagery import distribution_of
from geoseg.raster.matchings import MATCHINGS
from geoseg.raster.resample import Bands
from geoseg.raster.scaling import Conversion, scaling_notice
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.scenes import open_scene
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.spec.classify import TRAINING

_SHOWN_BANDS = 6
"""Bands whose means are said."""
_OF_NOTHING = Curve(np.zeros(1), np.zeros(1))
"""Curve of a band without data."""


@dataclass(frozen=True)
class MatchedValues:
    """The change that brings the values of a scene to those of a reference."""

    change: Curves
    """The change."""
    line: str
    """What is done."""


@dataclass(frozen=True)
class Reference:
    """A raster whose values a scene is to have."""

    name: str
    """What it is called: the name of its file."""
    bands: tuple[str, ...]
    """Names of the model's bands."""
    distributions: tuple[Distribution, ...]
    """Its values in each of them, as its file has them."""
    conversion: Conversion | None
    """Conversion of its values to the model's; None for none."""
    by: str
    """Name of the way to match."""
    pixels: int
    """Number of its pixels; 0 if it is no raster."""
    lines: tuple[str, ...]
    """What is uncertain about it, for the user."""

    def matched(self, bands: Bands, dtype: str) -> MatchedValues:
        """The change that a scene needs.

        Args:
            bands: its bands in the model's order, unchanged.
            dtype: type of their values.

        Raises:
            SceneError: if the file is damaged in one of the places that are read.
        """
        own = find_distributions(bands, dtype)
        way = MATCHINGS.get(self.by)
        if not own[0].values.size:
            return MatchedValues(Curves(tuple(_OF_NOTHING for _ in own), dtype), "the scene has no values to match")
        raw = [way.curve(values, wanted) for values, wanted in zip(own, self.distributions, strict=True)]
        curves = tuple(replace(curve, onto=self._converted(curve.onto, index)) for index, curve in enumerate(raw))
        shown = list(zip(self.bands, own, self.distributions, strict=True))[:_SHOWN_BANDS]
        means = ", ".join(f"{name} {of_scene.mean:.4g} to {wanted.mean:.4g}" for name, of_scene, wanted in shown)
        more = ", ..." if len(own) > _SHOWN_BANDS else ""
        is_sample = max(self.pixels, bands.height * bands.width) > MOST_PX
        sample = f"; of larger rasters {pixels_in_words(MOST_PX)}, evenly spread, are compared" if is_sample else ""
        line = (
            f"the scene's values are brought to those of {self.name}, band by band, by their {way.words}: mean "
            f"{means}{more}{sample}; right only if both show a like mix of land"
        )
        return MatchedValues(Curves(curves, dtype), line)

    def _converted(self, values: Floats, index: int) -> Floats:
        """Values of one band as the model has them."""
        if self.conversion is None:
            return values
        return values * self.conversion.factor[index] + self.conversion.shift[index]


def values_type(bands: SceneBands) -> str:
    """Type of the values of a scene's bands as they are counted."""
    resamples = bands.scene.dataset.resamples(bands.bands)
    return "float32" if resamples else bands.info.dtype_of(bands.bands)


def open_reference(model: ModelSpec, spec: ClassifySpec, like: SceneBands | None = None) -> Reference:
    """Read the reference that the settings name: a raster, or the model's training imagery.

    Args:
        model: whose bands and values it must have.
        spec: the settings, with `match`.
        like: the scene; a reference with as many bands has the same order, and one with values of the same type the
            same nodata value, where the settings say them.

    Raises:
        GeosegError: if it cannot be read, or is no reference for the model, or the bundle does not describe the
            training imagery.
    """
    assert spec.match is not None
    MATCHINGS.check(spec.match_by)
    if spec.matches_training:
        return _of_training(model, spec)
    try:
        with open_scene(spec.match) as scene:
            return _read(scene, model, spec, like)
    except SceneError as error:
        raise SceneError(f"--match: {error}") from None


def _of_training(model: ModelSpec, spec: ClassifySpec) -> Reference:
    """The training imagery, whose values are those of the model."""
    if model.imagery is None:
        _refuse(
            TRAINING,
            f"the bundle of {model.name} holds no values of its training imagery",
            "give a raster that the model knows",
        )
    dtype = model.dtype if model.scaling is None else "float32"
    found = tuple(distribution_of(values, dtype) for values in model.imagery.values)
    for band, values in zip(model.bands, found, strict=True):
        if np.ptp(values.values) == 0:
            _refuse(TRAINING, f"{band} has one value in all of it", "give a raster with imagery")
    return Reference("the training imagery", model.bands, found, None, spec.match_by, 0, ())


def _read(scene: Scene, model: ModelSpec, spec: ClassifySpec, like: SceneBands | None) -> Reference:
    name = Path(scene.info.public_path).name
    choice = _choose(scene, model, spec, like, name)
    dtype = scene.info.dtype_of(choice.indexes)
    if not fits_dtype(dtype, model.dtype):
        _refuse(
            name, f"its values are {dtype}, the model takes {model.dtype}", "give imagery like what the model knows"
        )
    is_alike = like is not None and like.info.dtype_of(like.bands) == dtype
    nodata = spec.nodata if is_alike and isinstance(spec.nodata, float) else None
    bands = SceneBands.select(scene, choice.indexes, nodata=nodata, dtype=model.dtype, scaling=model.scaling)
    change = bands.change
    assert change is None or isinstance(change, Conversion)
    counted = measured(replace(bands, change=None))
    found = find_distributions(counted, values_type(counted))
    for band, values in zip(model.bands, found, strict=True):
        if len(values.values) < 2:
            _refuse(name, f"{band} has no two different values", "give a raster with imagery")
    lines = [scaling_notice(scene.info.scaling_of(choice.indexes), model.scaling, is_rescaled=False, whose="reference")]
    if choice.by == "position":
        lines.append(f"reference: {choice.describe(model.bands, scene.info.descriptions)}")
    return Reference(
        name, model.bands, found, change, spec.match_by, scene.info.pixels, tuple(line for line in lines if line)
    )


def measured(bands: SceneBands) -> SceneBands:
    """The bands without fill that no tag declares: it says nothing about imagery."""
    fill = bands.find_fill()
    return bands if fill is None else bands.without(fill)


def _choose(scene: Scene, model: ModelSpec, spec: ClassifySpec, like: SceneBands | None, name: str) -> BandChoice:
    """The bands of the reference in the model's order."""
    info = scene.info
    given = spec.bands if like is not None and len(like.info.dtypes) == len(info.dtypes) else None
    try:
        return choose_bands(model.bands, info.colors, info.descriptions, given)
    except ModelError:
        has = describe_bands(info.colors, info.descriptions)
        _refuse(
            name,
            f"it has {has}, the model takes {', '.join(model.bands)}",
            "give a reference with these, named or in this order",
        )


def _refuse(name: str, what: str, remedy: str) -> NoReturn:
    raise SpecError(f"--match {name}: {what}: {remedy}")
