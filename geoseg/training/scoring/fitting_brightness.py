"""Labelled mosaics in the brightness in which `predict` shows them to a model, each as a scene of its own.

In: mosaics with a model's bands, the model. Out: the same, some of them rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.wording import number_of
from geoseg.inference.brightness import fitting_brightness
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.training.scoring.model_rasters import ModelBands


def in_fitting_brightness(
    mosaics: Sequence[ModelBands], model: ModelSpec, settings: ClassifySpec
) -> tuple[list[ModelBands], tuple[str, ...]]:
    """The mosaics with what `rescale: auto` stands for, and a notice of those that are changed.

    Raises:
        SceneError: if an image is damaged in one of the places that are read.
    """
    if settings.rescale != "auto":
        return list(mosaics), ()
    fitting = [fitting_brightness(bands, model, bands.change) for bands in mosaics]
    found = [one if one is not None and one.is_enough else None for one in fitting]
    seen = [
        bands if one is None else replace(bands, change=one.change) for bands, one in zip(mosaics, found, strict=True)
    ]
    factors = sorted(one.brightness for one in found if one is not None)
    if not factors:
        return seen, ()
    times = f"{factors[0]:.2f}" + (f" to {factors[-1]:.2f}" if len(factors) > 1 else "")
    line = (
        f"of {number_of(len(mosaics), 'raster')} (images that touch are one), {len(factors)} are {times} times as "
        "bright as the model's training imagery of the same colours: their values are brought to that; --rescale none "
        "leaves them"
    )
    return seen, (line,)
