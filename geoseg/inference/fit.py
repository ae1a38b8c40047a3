"""Whether a model fits a scene: ground resolution and band values, against those that the model knows.

In: the description of a scene, a sample of its values, a model. Out: the resolution at which the network sees the
scene, and misfits, a line each. Knows no network.

The *brightness* of imagery is the 98th percentile of a band divided by mean + 2 standard deviations of the model's
training imagery, on average over the bands. It depends little on what grows in a scene, as there are lit and shaded
surfaces everywhere, while means do. Measured against the bundle that comes with geoseg (NAIP imagery of Ohio, 0.6 m):

| imagery | brightness | band means, in standard deviations from the model's |
|---|---|---|
| 170 tiles of 256 px of that imagery, also such as are all forest, all meadow or all bare | 0.66 to 1.25 | up to 1.7 |
| the same, values halved | 0.33 to 0.62 | 1.4 to 2.8 |
| aerial images of other places (Netherlands, California, North Dakota, Indonesia), Landsat | 0.79 to 1.14 | up to 2.9 |
| 45 satellite images of Dubai | 1.05 to 1.29 | up to 3.9 |
| Sentinel-2 of a coast, stretched to 8 bits, mostly water | 0.55 | up to 2.5 |
| Sentinel-2 as 16-bit values, which are not the model's | 9.4 | up to 27 |

Means do not separate dark imagery from a forest; brightness separates them in all of these scenes.

On every third validation tile the model has mIoU 0.724; with values x 0.7 it has 0.548, with halved ones 0.246, and
0.725 with the rescale that the hint names for these. So imagery that is a little dark loses without a hint, which
would be wrong for woods alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import ModelError
from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.brightness import sample_squares, unlike_brightness
from geoseg.raster.scaling import Rescaling
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import spread_windows
from geoseg.spec import ModelSpec, NormalizationSpec
from geoseg.spec.classify import Resolution

FITTING_FACTOR = 1.5
"""Ratio of ground resolutions up to which a model takes a scene as it is."""
FARTHEST_FACTOR = 4.0
"""Ratio beyond which a scene is refused: it lacks the detail by which the model knows its classes."""
MOST_REFINING = 8
"""Largest ratio of the scene's pixel size to a finer --resolution."""
DARK = 0.65
"""Brightness below which a hint is given: no tile of the model's own imagery is as dark, all are that are halved."""
DARKEST, BRIGHTEST = 0.05, 5.0
"""Brightness, and that of the median, beyond which values are in another unit than the model's. Clouds and open water
are inside: they reflect up to 4 times, or a tenth, of what mixed land does."""
_FEWEST_LABELLED_PX = 100_000
"""Labelled training pixels below which their statistics say too little of the imagery to call another scene dark: of
440 pixels in drawn polygons, most on bright sand, the scene itself seemed 0.55 times as bright."""
_FEWEST_PX = 256
"""Sampled pixels with data, below which nothing is said about values."""


@dataclass(frozen=True)
class Misfit:
    """In what a scene differs from what a model knows."""

    line: str
    """What differs, then what to do."""
    is_far: bool
    """Whether classes would be wrong."""


def fitting_resolution(own: float | None, model: ModelSpec, wanted: Resolution) -> Resolution:
    """What `auto` stands for: the model's resolution where the scene's own, in metres, is another, else the scene's.

    A scene that is too coarse to be refined keeps its own.
    """
    if wanted != "auto":
        return wanted
    known = model.resolution_m
    if own is None or known is None or is_like(own, known) or own > MOST_REFINING * known:
        return "scene"
    return "model"


def is_like(own: float, known: float) -> bool:
    """Whether two ground resolutions in metres are so near that a model takes one for the other."""
    return 1 / FITTING_FACTOR <= own / known <= FITTING_FACTOR


def resolution_misfit(own: float | None, model: ModelSpec, wanted: Resolution) -> Misfit | None:
    """How a scene's own resolution in metres differs from what a model knows; None where it does not, or is unknown.

    A finer scene fits once it is averaged to the model's resolution. A coarser one does not: refining adds no detail.
    """
    known = model.resolution_m
    if own is None or known is None:
        return None
    chosen = fitting_resolution(own, model, wanted)
    seen = {"scene": own, "model": known}.get(str(chosen), chosen)
    assert isinstance(seen, float)
    factor = max(own / known, seen / known, known / seen)
    if max(factor, known / own) <= FITTING_FACTOR:
        return None
    sizes = f"the scene's pixels are {own:.3g} m, the model knows {known:.3g} m"
    if factor > FARTHEST_FACTOR:
        remedy = "pass --resolution model" if own < known else "choose a model for such pixels"
        return Misfit(f"{sizes}: classes would be wrong, {remedy}", is_far=True)
    if not is_like(seen, known):
        return Misfit(f"{sizes}, and sees {seen:.3g} m: poor classes, pass --resolution model", is_far=False)
    keep = "; --resolution scene keeps the scene's own" if wanted == "auto" else ""
    if own < known:
        return Misfit(f"{sizes}: the scene is averaged to {seen:.3g} m for it{keep}", is_far=False)
    return Misfit(
        f"{sizes}: the scene is enlarged to {seen:.3g} m for it, which adds no detail: expect poorer classes{keep}",
        is_far=False,
    )


def known_statistics(model: ModelSpec) -> NormalizationSpec | None:
    """Mean and deviation per band of the imagery that a model was trained on; None where the bundle does not hold them.

    A bundle that was trained from another one has that one's normalization; one that takes values as they are has
    means of 0.
    """
    if model.statistics is not None:
        return model.statistics
    is_own = model.card.training.get("init_from") is None and any(model.normalization.mean)
    return model.normalization if is_own else None


NO_STATISTICS = "the model holds no statistics of its training imagery: values are not compared with them"


def values_misfit(bands: SceneBands, model: ModelSpec) -> Misfit | None:
    """How a scene's values differ from those that a model knows; None where they do not.

    Raises:
        SceneError: if the file is damaged in one of the 16 places that are read.
    """
    known = known_statistics(model)
    if known is None:
        return Misfit(NO_STATISTICS, is_far=False)
    if (brightness := _by_colours(bands, model)) is not None:
        return Misfit(
            f"the scene is {brightness:.2f} times as bright as the model's training imagery of the same colours: poor "
            "classes, --rescale auto brings it to that",
            is_far=False,
        )
    values = _sample(bands)
    if values.shape[1] < _FEWEST_PX:
        return None
    percentiles = np.percentile(values, (50, 98), axis=1)
    found = _brightness(percentiles, known)
    return None if found is None else _by_brightness(found[0], found[1], bands, model)


def _by_colours(bands: SceneBands, model: ModelSpec) -> float | None:
    """How many times as bright a scene is as the training imagery, where values are as they are and that is known."""
    if model.brightness is None or bands.change is not None:
        return None
    return unlike_brightness(sample_squares(bands), model.brightness, model.dtype)


def statistics_misfit(own: NormalizationSpec, model: ModelSpec) -> Misfit | None:
    """The same for labelled rasters, by their mean and deviation per band."""
    known = known_statistics(model)
    if known is None:
        return Misfit(NO_STATISTICS, is_far=False)
    mean, std = np.array(own.mean), np.array(own.std)
    found = _brightness(np.stack([mean, mean + 2 * std]), known)
    return None if found is None else _by_brightness(found[0], found[1], None, model)


def misfit_lines(misfits: Sequence[Misfit | None], *, is_forced: bool) -> list[str]:
    """The lines of misfits, for the user.

    Raises:
        ModelError: if a misfit is far, unless the scene is to be classified all the same.
    """
    known = [misfit for misfit in misfits if misfit is not None]
    far = [misfit for misfit in known if misfit.is_far]
    if far and not is_forced:
        raise ModelError(f"{far[0].line}; --force classifies it all the same")
    return [misfit.line for misfit in known]


def _sample(bands: SceneBands) -> NDArray[np.float32]:
    """Values (C, n) with data of 16 small windows spread over a scene; those of one value all over do not count."""
    found = [np.zeros((len(bands.bands), 0), np.float32)]
    for window in spread_windows(bands.height, bands.width):
        image, valid = bands.read(window)
        values = image[:, valid].astype(np.float32)
        if values.size and np.ptp(values):
            found.append(values[:, values.any(axis=0)])
    return np.concatenate(found, axis=1)


def _brightness(percentiles: NDArray[np.floating], known: NormalizationSpec) -> tuple[float, float] | None:
    """Brightness by medians and by 98th percentiles (2, C); None where 0 is not dark, as in decibels or embeddings."""
    mean = np.array(known.mean)
    light = mean + 2 * np.array(known.std)
    if min(mean.min(), light.min()) <= 0:
        return None
    median, high = (percentiles / light).mean(axis=1)
    return float(median), float(high)


def _by_brightness(median: float, high: float, bands: SceneBands | None, model: ModelSpec) -> Misfit | None:
    if not (high >= DARKEST and median <= BRIGHTEST):
        return Misfit(
            f"the values are {high:.2g} times as bright as those that the model knows: classes would be wrong, bring "
            "them to its range with --rescale LOW,HIGH, or choose a model for such values",
            is_far=True,
        )
    if high >= DARK or _learnt_from_few(model) or takes_quantities(model):
        return None
    remedy = "" if bands is None else _brightening(high, bands, model)
    return Misfit(f"dark imagery, {high:.2f} times as bright as what the model knows: poor classes{remedy}", False)


def takes_quantities(model: ModelSpec) -> bool:
    """Whether a model takes physical quantities themselves, such as reflectances, whose brightness nothing changes."""
    scaling = model.scaling
    return model.dtype == "float32" and scaling is not None and {*scaling.scale} == {1} and {*scaling.offset} == {0}


def _learnt_from_few(model: ModelSpec) -> bool:
    """Whether a model's statistics are of few pixels; a card without their number is taken to be of many."""
    count = model.card.training.get("train_pixels")
    return isinstance(count, int) and count < _FEWEST_LABELLED_PX


def _brightening(brightness: float, bands: SceneBands, model: ModelSpec) -> str:
    """The --rescale that brings dark values to the model's range; nothing where none does."""
    low, top = 0.0, HIGHEST[model.dtype]
    if isinstance(bands.change, Rescaling):
        low, top = bands.change.low, top / bands.change.factor
    elif bands.change is not None or (known := known_statistics(model)) is None or max(known.mean) > top:
        return ""
    return f", pass --rescale {low:g},{float(f'{low + top * brightness:.3g}'):g}"
