"""A scene as a model reads it: which bands, with which scaling, at which resolution.

In: an open scene, a model, a ClassifySpec. Out: the bands, and the source that windows are read from.
"""

from __future__ import annotations

from geoseg.core.errors import GeosegError, SpecError
from geoseg.inference.fit import MOST_REFINING, known_statistics, takes_quantities
from geoseg.raster.bands.matching import FITS, HIGHEST, BandChoice, check_dtype, choose_bands
from geoseg.raster.brightness import sample_squares, unlike_brightness
from geoseg.raster.regridded import resampled
from geoseg.raster.resample import NativeScene, Source
from geoseg.raster.scaling import conversion
from geoseg.raster.scene import BYTES, Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import check_nodata
from geoseg.spec import ClassifySpec, ModelSpec

_MOST_COARSENING = 64
"""Largest ratio of a coarser --resolution to the scene's pixel size."""
_REFLECTANCES = 0.0, 10_000.0
"""Whole numbers for reflectances of 0 and 1, as most products of satellites have them."""


def select_bands(scene: Scene, model: ModelSpec, spec: ClassifySpec) -> tuple[SceneBands, BandChoice]:
    """Choose the bands of a scene, their scaling, and how missing data are marked.

    Raises:
        GeosegError: if the scene does not fit the model or the settings.
    """
    if spec.given_rescale is not None and model.dtype == "int8":
        raise SpecError(f"--rescale makes values from 0 up, model {model.name} takes bytes with a sign: leave it out")
    choice = choose_bands(model.bands, scene.info.colors, scene.info.descriptions, spec.bands)
    dtype = scene.info.dtype_of(choice.indexes)
    if spec.given_rescale is None and spec.match is None and not _is_converted(scene, choice, model):
        check_dtype(dtype, model.dtype, *_suggestion(scene, choice, model))
    check_nodata(spec.nodata, dtype)
    bands = SceneBands.select(
        scene,
        choice.indexes,
        nodata=None if spec.nodata == "auto" else spec.nodata,
        rescale=spec.given_rescale,
        dtype=model.dtype,
        scaling=None if spec.match else model.scaling,
    )
    return bands, choice


def _is_converted(scene: Scene, choice: BandChoice, model: ModelSpec) -> bool:
    """Whether scale and offset of both turn whole numbers of a scene into a model's fractions."""
    return model.dtype == "float32" and conversion(scene.info.scaling_of(choice.indexes), model.scaling) is not None


def _suggestion(scene: Scene, choice: BandChoice, model: ModelSpec) -> tuple[tuple[float, float] | None, str]:
    """A suitable --rescale, sampled only if the types do not match, and what it suits."""
    try:
        check_dtype(scene.info.dtype_of(choice.indexes), model.dtype, None)
    except GeosegError:
        if takes_quantities(model):
            return _REFLECTANCES, "for reflectance x 10,000; the model takes quantities, not brightness"
        found = scene.suggest_rescale(choice.indexes)
        return found and _like_training(found, scene, choice, model), FITS
    return None, FITS


def _like_training(
    percentiles: tuple[float, float], scene: Scene, choice: BandChoice, model: ModelSpec
) -> tuple[float, float]:
    """The --rescale that makes a scene about as bright as the training imagery, if the bundle knows how bright that is.

    Black stays black. The 98th percentile comes to where it is in the training imagery, if values are spread normally;
    then colours decide, where they are known.
    """
    known, (low, high) = known_statistics(model), percentiles
    if known is None or low < 0 or percentiles == BYTES:
        return percentiles
    bright = max(mean + 2 * std for mean, std in zip(known.mean, known.std, strict=True))
    top = high * max(1.0, HIGHEST[model.dtype] / bright)
    if model.brightness is not None:
        bands = SceneBands.select(scene, choice.indexes, nodata=None, rescale=(0.0, top), dtype=model.dtype)
        top *= unlike_brightness(sample_squares(bands), model.brightness, model.dtype) or 1.0
    return 0.0, float(f"{top:.3g}")


def at_resolution(scene: SceneBands, model: ModelSpec, spec: ClassifySpec) -> Source:
    """The bands at the requested resolution.

    Raises:
        SpecError: if it is unknown, or too far from the scene's own.
    """
    if spec.resolution in ("auto", "scene"):
        return NativeScene(scene)
    wanted = spec.resolution if isinstance(spec.resolution, float) else model.resolution_m
    if wanted is None:
        raise SpecError("--resolution model: this model does not know its resolution: give metres instead")
    size = scene.info.pixel_size_m
    if size is None:
        raise SpecError("--resolution needs a scene of known pixel size, this one has no usable CRS: leave it out")
    width, height = (
        max(1, round(n * metres / wanted)) for n, metres in zip((scene.width, scene.height), size, strict=True)
    )
    if (height, width) == (scene.height, scene.width):
        return NativeScene(scene)
    if height * width > MOST_REFINING**2 * scene.height * scene.width:
        raise SpecError(
            f"--resolution {wanted:g}: more than {MOST_REFINING} times finer than the scene's "
            f"{scene.info.resolution_m:.3g} m: choose a coarser one"
        )
    if _MOST_COARSENING**2 * height * width < scene.height * scene.width:
        raise SpecError(
            f"--resolution {wanted:g}: more than {_MOST_COARSENING} times coarser than the scene's "
            f"{scene.info.resolution_m:.3g} m: choose a finer one"
        )
    return resampled(scene, height, width)
