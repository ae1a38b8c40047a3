"""Labelled mosaics in the brightness in which `predict` shows them to a model, each as a scene of its own.

In: mosaics with a model's bands, the model. Out: the same, some of them rescaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.wording import number_of
from geoseg.inference.brightness import FittingBrightness, fitting_brightness
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.training.scoring.model_rasters import ModelBands

DONE = {
    True: ": their values are brought to that; --rescale none leaves them",
    False: ", and would look unlike it in that brightness, too, as under haze: their values are left as they are",
}
"""What is done with rasters for which a change of brightness is enough, or is not."""


def in_fitting_brightness(
    mosaics: Sequence[ModelBands], model: ModelSpec, settings: ClassifySpec
) -> tuple[list[ModelBands], tuple[str, ...]]:
    """The mosaics with what `rescale: auto` stands for, and notices of those that are changed or would need more.

    Raises:
        SceneError: if an image is damaged in one of the places that are read.
    """
    if settings.rescale != "auto":
        return list(mosaics), ()
    found = [fitting_brightness(bands, model, bands.change) for bands in mosaics]
    seen = [
        bands if one is None or not one.is_enough else replace(bands, change=one.change)
        for bands, one in zip(mosaics, found, strict=True)
    ]
    lines = [_line(len(mosaics), found, is_enough=is_enough) for is_enough in DONE]
    return seen, tuple(line for line in lines if line)


def _line(count: int, found: Sequence[FittingBrightness | None], *, is_enough: bool) -> str:
    """What is done with those of so many rasters for which a change is enough, or not; "" where there are none."""
    factors = [one.brightness for one in found if one is not None and one.is_enough == is_enough]
    if not factors:
        return ""
    times = f"{min(factors):.2f}" + (f" to {max(factors):.2f}" if len(factors) > 1 else "")
    return (
        f"of {number_of(count, 'raster')} (images that touch are one), {len(factors)} are {times} times as bright as "
        f"the model's training imagery of the same colours{DONE[is_enough]}"
    )
