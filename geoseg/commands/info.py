"""`geoseg info`: the properties of a scene or a model, as plain values."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rasterio.transform import array_bounds

from geoseg.commands.info_polygons import describe_polygons
from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.redaction import public_form
from geoseg.geo.crs import crs_name
from geoseg.inference.brightness import fitting_brightness
from geoseg.inference.fit import misfit_lines, resolution_misfit, values_misfit
from geoseg.inference.notices import fill_notice, scene_notices
from geoseg.inference.source import select_bands
from geoseg.metrics.metric import FORMER_NAMES
from geoseg.models.backends import BACKENDS
from geoseg.models.downloads import fetch_file, is_address
from geoseg.models.downloads.download import sha256_of
from geoseg.models.families.licences import non_commercial
from geoseg.models.header import default_model_path, read_spec
from geoseg.raster.bands.embeddings import are_axes, describe_vectors, may_be_axes
from geoseg.raster.class_raster import open_classes
from geoseg.raster.fill import Fill
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.legends import read_legend
from geoseg.raster.rights import Rights
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.scene_info import SceneInfo, plain_number
from geoseg.scenes import SceneRef, find_scenes, open_scene
from geoseg.spec import ClassifySpec, ImagerySpec, ModelSpec
from geoseg.spec.base import MOST_BANDS

_SHOWN_BANDS = 64
_SHOWN_CLASSES = 256


def describe(path: str | os.PathLike[str], model: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Describe a model file (a bundle, its address, or `default`), polygons, or a scene and whether a model fits it.

    Raises:
        GeosegError: if it is neither.
    """
    path = os.fspath(path)
    if path == "default":
        path = str(default_model_path())
    if is_model_address(path):
        found = fetch_file(path)
        return {"address": found.address, "sha256": sha256_of(found.path)} | describe_model(found.path)
    if Path(path).suffix.lower() in BACKENDS:
        return describe_model(Path(path))
    return describe_polygons(path) or describe_scene(path, model)


def is_model_address(path: str) -> bool:
    """Whether a path is the address of a model, not that of a scene: on the Hub, or with the ending of a model file."""
    ending = Path(urlsplit(path).path).suffix.lower()
    return is_address(path) and (path.lower().startswith("hf:") or ending in BACKENDS)


def describe_model(path: Path) -> dict[str, Any]:
    """The spec of a model file, as plain values."""
    spec = read_spec(path)
    sees = {"sees": spec.branch.describe()} if spec.branch.levels else {}
    values = spec.model_dump(mode="json", exclude={"name"})
    if spec.brightness is not None:
        values["brightness"] = {"colours": len(spec.brightness.colours), "variation": spec.brightness.variation}
    if spec.imagery is not None:
        values["imagery"] = _imagery(spec.bands, spec.imagery)
    values["card"]["scores"] = {FORMER_NAMES.get(name, name): value for name, value in spec.card.scores.items()}
    weights = spec.card.training.get("encoder_weights")
    note = non_commercial(spec.network, weights if isinstance(weights, str) else None)
    unsaid = {"encoder_licence": note} if note and note not in spec.card.licence else {}
    purpose = {"purpose": spec.card.what_for} if spec.card.what_for else {}
    return purpose | unsaid | {"model": spec.name, "bytes": path.stat().st_size, **sees, **values}


def _imagery(bands: Sequence[str], imagery: ImagerySpec) -> dict[str, Any]:
    """What the training imagery looks like, without the matrices."""
    parts = len(imagery.values[0])
    shown = {
        f"{percent} % of values are below": [values[round(percent / 100 * (parts - 1))] for values in imagery.values]
        for percent in (1, 50, 99)
    }
    spreads = {"bands": imagery.bands, "features": imagery.features}
    compared = {name: f"spread of {one.crops} crops, reach {one.reach:g}" for name, one in spreads.items() if one}
    return {"resolution_m": imagery.resolution_m, **shown, "compared": compared}


def describe_scene(path: str, model: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The properties of a scene, and whether a model (default: the default model) fits it."""
    with gdal_settings(), open_scene(_only_scene(path)) as scene:
        info, fill = scene.info, _find_fill(scene)
        return {
            "scene": info.public_path,
            "size": {"width": info.width, "height": info.height, "megapixels": round(info.pixels / 1e6, 3)},
            "band_count": len(info.colors),
            "bands": [_band(info, i) for i in range(min(len(info.colors), _SHOWN_BANDS))],
            "nodata": plain_number(next((value for value in info.nodata if value is not None), None)),
            "validity": {
                "none": "every pixel",
                "nodata": "nodata value",
                "mask": "mask band",
                "alpha": "alpha band",
                "bands": "as the file of each band says",
            }[info.mask],
            "fill": fill_notice(fill, ClassifySpec()),
            "crs": _crs_name(info),
            "transform": list(info.transform)[:6],
            "bounds": list(array_bounds(info.height, info.width, info.transform)),
            "pixel_size_m": info.pixel_size_m and tuple(float(f"{side:.6g}") for side in info.pixel_size_m),
            **_embedding(scene),
            **_classes(info.path),
            **Rights.stated(scene.dataset.tags()).facts(),
            "fits": _fit(scene, read_spec(model)),
        }


def _only_scene(path: str) -> SceneRef:
    """The scene that a path, a STAC Item or an archive stands for.

    Raises:
        SceneError: if there are several.
    """
    scenes = find_scenes(path)
    if len(scenes) > 1:
        raise SceneError(
            f"{public_form(path)} holds {len(scenes):,} scenes: give one, e.g. {public_form(scenes[0].path)}"
        )
    return scenes[0]


def _find_fill(scene: Scene) -> Fill | None:
    """Fill in all bands of one type that are imagery; None also where the file cannot be read."""
    info = scene.info
    bands = [i for i, color in enumerate(info.colors, 1) if color != "alpha" and info.dtypes[i - 1] == info.dtypes[0]]
    with suppress(SceneError):
        return SceneBands.select(scene, bands[:_SHOWN_BANDS]).find_fill()
    return None


def _embedding(scene: Scene) -> dict[str, str]:
    """What the vectors of an embedding are like; nothing of other rasters."""
    info = scene.info
    bands = [i for i, color in enumerate(info.colors, 1) if color != "alpha"][:MOST_BANDS]
    names, dtype = [info.descriptions[i - 1] for i in bands], info.dtype_of(bands)
    if len(bands) < 2 or not may_be_axes(names, dtype):
        return {}
    with suppress(SceneError):
        values = SceneBands.select(scene, bands).sampled()
        if values.size and are_axes(names, dtype, float(values.min())):
            return {"embedding": f"{len(bands)} axes as {dtype}, vectors {describe_vectors(values)}"}
    return {}


def _classes(path: str) -> dict[str, Any]:
    """Values, names and colours that the legend of a class raster names; nothing of other rasters."""
    with suppress(SceneError), open_classes(path) as raster:
        reading = read_legend(raster)
        names, colors = reading.legend.names, reading.legend.colors
        shown = [{"value": k, "name": names[k], "color": colors.get(k)} for k in sorted(names)[:_SHOWN_CLASSES]]
        unread = {"unread": list(reading.notices)} if reading.notices else {}
        return ({"classes": shown} if shown else {}) | unread
    return {}


def _band(info: SceneInfo, i: int) -> dict[str, Any]:
    scaling = info.scaling_of([i + 1])
    terms = {} if scaling is None else {"scale": scaling.scale[0], "offset": scaling.offset[0]}
    return {
        "band": i + 1,
        "color": info.colors[i],
        "type": info.dtypes[i],
        "description": info.descriptions[i] or None,
    } | terms


def _crs_name(info: SceneInfo) -> str | None:
    points, points_crs = info.gcps
    if points:
        return f"{len(points)} ground control points in {crs_name(points_crs) if points_crs else 'an unknown CRS'}"
    if info.crs is None:
        return "rational polynomial coefficients" if info.rpcs is not None else None
    return crs_name(info.crs)


def _fit(scene: Scene, model: ModelSpec) -> dict[str, Any]:
    """Whether a model fits the scene; if not, what to do."""
    spec = ClassifySpec()
    try:
        misfits = misfit_lines([resolution_misfit(scene.info.resolution_m, model, "auto")], is_forced=False)
        bands, choice = select_bands(scene, model, spec)
        found = fitting_brightness(bands, model, bands.change)
        misfits += [found.line] if found else misfit_lines([values_misfit(bands, model)], is_forced=False)
    except GeosegError as error:
        return {"model": model.name, "fits": False, "why": str(error)}
    return {
        "model": model.name,
        "fits": True,
        "bands": dict(zip(model.bands, choice.indexes, strict=True)),
        "bands_by": choice.by,
        "model_resolution_m": model.resolution_m,
        "notices": scene_notices(scene.info, choice, model, spec) + misfits,
    }
