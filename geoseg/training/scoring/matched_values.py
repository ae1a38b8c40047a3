"""Labelled mosaics with the values in which `predict --match` shows them to a model, each as a scene of its own.

In: mosaics with a model's bands, the model. Out: the same, with values brought to those of a reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geoseg.core.errors import SpecError
from geoseg.core.wording import number_of
from geoseg.inference.matched import open_reference
from geoseg.raster.scaling import Rescaling
from geoseg.spec import ClassifySpec, ModelSpec
from geoseg.training.scoring.model_rasters import ModelBands


def with_matched_values(
    mosaics: Sequence[ModelBands], model: ModelSpec, settings: ClassifySpec
) -> tuple[list[ModelBands], tuple[str, ...]]:
    """The mosaics with the values of the reference that the settings name, and notices.

    Raises:
        GeosegError: if the reference does not fit the model, or an image is damaged where it is read.
    """
    reference = open_reference(model, settings)
    seen = []
    for bands in mosaics:
        if isinstance(bands.change, Rescaling):
            raise SpecError("rescale LOW,HIGH and match both say which values the network sees: leave one of them out")
        plain = replace(bands, change=None)
        seen.append(replace(bands, change=reference.matched(plain, "float32").change))
    line = (
        f"the values of {number_of(len(mosaics), 'raster')} (images that touch are one) are brought to those of "
        f"{reference.name}, band by band; right only if both show a like mix of land"
    )
    return seen, (line, *reference.lines)
