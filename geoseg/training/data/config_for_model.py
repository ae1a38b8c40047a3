"""A training config adapted to a model, to score it. In: a TrainSpec and a model. Out: the same, with its bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geoseg.core.errors import ModelError, SpecError
from geoseg.data.listing import list_rasters, to_read
from geoseg.raster.bands.matching import fits_dtype
from geoseg.spec import (
    ClassifySpec,
    ClassSpec,
    DataSpec,
    ModelSpec,
    TrainSpec,
)
from geoseg.spec.evaluate import Split
from geoseg.training.data.image_files import open_image


def config_for_model(spec: TrainSpec, model: ModelSpec, settings: ClassifySpec, only: Split | None = None) -> TrainSpec:
    """Return a training config with the classes, bands and value type of a model, in the model's order.

    Args:
        spec: the config.
        model: the model.
        settings: whose `bands` and `nodata` replace those of the config; with `rescale` values may be of any type.
        only: the side that is to be read; None for those that training reads.

    Raises:
        ModelError: if the config has other classes, lacks a band, or has values of another kind.
        SpecError: if the model's bands have different indexes from image to image.
        LabelError: if an image lacks the config's own bands.
        SceneError: if an image cannot be opened.
    """
    _check_classes(spec.classes, model)
    if settings.given_rescale is None and not fits_dtype(spec.data.dtype, model.dtype):
        raise ModelError(
            f"model {model.name} was trained on {model.dtype} values, the config's are {spec.data.dtype}: "
            "choose a model for such values, or correct data.dtype"
        )
    changes: dict[str, Any] = {} if settings.given_rescale is not None else {"dtype": model.dtype}
    if settings.bands is not None:
        changes |= {"bands": model.bands, "band_indexes": _given_bands(settings.bands, model)}
    elif spec.data.bands != model.bands:
        changes |= _take_bands(spec.data, model, only)
    if settings.nodata is not None:
        changes["nodata"] = _given_nodata(settings.nodata)
    data = spec.data.model_copy(update=changes)
    codes = {c.id: c.code for c in spec.classes}
    classes = tuple(c.model_copy(update={"code": codes[c.id]}) for c in model.classes)
    return spec.model_copy(update={"classes": classes, "data": data})


def _given_bands(bands: tuple[int, ...], model: ModelSpec) -> tuple[int, ...]:
    if len(bands) != len(model.bands):
        raise SpecError(f"bands = {list(bands)}: the model wants {', '.join(model.bands)}: give one number for each")
    return bands


def _given_nodata(nodata: float | str) -> float:
    if isinstance(nodata, str):
        raise SpecError("nodata = 'auto': fill is not looked for in labelled rasters: give its value")
    return nodata


def _check_classes(classes: Sequence[ClassSpec], model: ModelSpec) -> None:
    own, wanted = ({(c.id, c.name) for c in some} for some in (classes, model.classes))
    if own != wanted:
        raise ModelError(
            f"model {model.name} has the classes {_class_list(model.classes)}, the config has {_class_list(classes)}: "
            "give both the same ids and names, or choose another model"
        )


def _class_list(classes: Sequence[ClassSpec]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in classes)


def _take_bands(data: DataSpec, model: ModelSpec, only: Split | None) -> dict[str, Any]:
    """The fields of a DataSpec that name bands, for a model with some of its bands or another order."""
    names = [name.strip().lower() for name in data.bands]
    missing = [name for name in model.bands if name.strip().lower() not in names]
    if missing:
        raise ModelError(
            f"model {model.name} wants the bands {', '.join(model.bands)}, the config has {', '.join(data.bands)}: "
            "choose a model of these bands, or name the others in data.bands"
        )
    picks = [names.index(name.strip().lower()) for name in model.bands]
    return {"bands": model.bands, "band_indexes": _places(data, picks, only)}


def _places(data: DataSpec, picks: Sequence[int], only: Split | None) -> tuple[int, ...]:
    """Indexes in the files of some of the config's bands.

    All of its bands are matched: which band is the second may depend on how many there are.
    """
    if data.band_indexes is not None:
        return tuple(data.band_indexes[pick] for pick in picks)
    found: dict[tuple[int, ...], Path] = {}
    for entry in to_read(list_rasters(data), only):
        with open_image(entry.image, data) as scene:
            found.setdefault(tuple(scene.bands[pick] for pick in picks), entry.image)
    if len(found) > 1:
        (one, path), (other, other_path), *_ = found.items()
        raise SpecError(
            f"the model's bands stand at {list(one)} in {path} but at {list(other)} in {other_path}: "
            "score such images apart, or write them alike"
        )
    return next(iter(found))
