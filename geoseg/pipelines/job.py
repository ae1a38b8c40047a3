"""One scene, one model and their settings, checked to fit, before any pixel is forwarded.

In: an open scene, a model, a PredictSpec. Out: a Job: what is read, on which grid, how it is run. Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from geoseg.bands import BandChoice, check_dtype, choose_bands
from geoseg.errors import GeosegError, SpecError
from geoseg.georef import PixelGrid
from geoseg.grid import Grid
from geoseg.models import Model, Runner, load_model
from geoseg.pipelines.vectorize import check_settings
from geoseg.polygons import Legend
from geoseg.resample import NativeScene, ResampledScene, Source
from geoseg.scene import Scene, SceneInfo, plain_number
from geoseg.spec import ModelSpec, PredictSpec

Notice = Callable[[str], None]
"""Called with one line that a person should read."""

BY_MODEL = PredictSpec()
"""Everything as the model has it."""
BORDER = 32
"""Pixels by which a scene is reflected on each side, so that its edge is never the network's edge."""
_CPU_BATCH_PX, _GPU_BATCH_PX = 2**20, 2**23
_MOST_REFINING, _MOST_COARSENING = 8, 64
"""How far --resolution may be from the scene's own."""
_RESOLUTION_FACTOR = 1.5
"""A model is told to be out of its depth beyond this ratio of ground resolutions."""


@dataclass
class Job:
    """One scene, its model and its grid, all checked to fit."""

    scene: Scene
    source: Source
    model: Model
    spec: PredictSpec
    grid: Grid
    runner: Runner
    batch_size: int
    settings: dict[str, Any]
    notices: list[str] = field(default_factory=list)

    @property
    def wants_confidence(self) -> bool:
        """Whether the probability of the chosen class is kept: for its own raster, or for the polygons."""
        return self.spec.polygons or self.spec.confidence is not None


def prepare(scene: Scene, model: Model | str | os.PathLike[str] | None, spec: PredictSpec, notice: Notice) -> Job:
    """Hold a scene, a model and settings against each other.

    Raises:
        GeosegError: if they don't fit: which, and the way out.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    notices: list[str] = []

    def tell(line: str) -> None:
        notices.append(line)
        notice(line)

    choice = choose_bands(loaded.spec.bands, scene.info.colors, scene.info.descriptions, spec.bands)
    if spec.rescale is None:
        check_dtype(scene.info.dtype_of(choice.indexes), loaded.spec.dtype, _suggestion(scene, choice, loaded.spec))
    scene.select(choice.indexes, nodata=spec.nodata, rescale=spec.rescale, dtype=loaded.spec.dtype)
    grid_of_scene = PixelGrid(scene.height, scene.width, scene.info.transform, scene.info.crs)
    check_settings(spec, grid_of_scene, Legend.of(loaded.spec.classes), scene.info.path)
    for line in scene_notices(scene.info, choice, loaded.spec, spec):
        tell(line)
    source = _at_resolution(scene, loaded.spec, spec)
    grid = make_grid(source.height, source.width, loaded.spec, spec)
    runner = Runner(loaded.module, spec.device, spec.precision)
    window_px = grid.rows.size * grid.cols.size
    budget = _CPU_BATCH_PX if runner.device.type == "cpu" else _GPU_BATCH_PX
    batch_size = spec.batch_size or max(1, min(32, budget // window_px))
    settings = spec.model_dump(
        mode="json", exclude={"scores", "scores_type", "confidence", "polygons", "preview", "stac"}
    ) | {
        "tile": grid.tile,
        "overlap": grid.overlap,
        "batch_size": batch_size,
        "device": str(runner.device),
        "precision": runner.precision,
        "bands": list(choice.indexes),
        "nodata": plain_number(spec.nodata),
    }
    return Job(scene, source, loaded, spec, grid, runner, batch_size, settings, notices)


def _suggestion(scene: Scene, choice: BandChoice, model: ModelSpec) -> tuple[float, float] | None:
    """A --rescale that fits, looked up only when one is needed."""
    try:
        check_dtype(scene.info.dtype_of(choice.indexes), model.dtype, None)
    except GeosegError:
        return scene.suggest_rescale(choice.indexes)
    return None


def scene_notices(info: SceneInfo, choice: BandChoice, model: ModelSpec, spec: PredictSpec) -> list[str]:
    """What a person should know before a model is let loose on a scene, a line each."""
    named = ", ".join(f"{name} = band {index}" for name, index in zip(model.bands, choice.indexes, strict=True))
    lines = [f"bands by {choice.by}: {named}"]
    native, wanted = info.resolution_m, model.resolution_m
    if (
        native
        and wanted
        and spec.resolution == "native"
        and not 1 / _RESOLUTION_FACTOR <= native / wanted <= _RESOLUTION_FACTOR
    ):
        remedy = "pass --resolution model" if native / wanted <= _MOST_REFINING else "choose a model for such pixels"
        lines.append(f"the scene's pixels are {native:.3g} m, the model knows {wanted:.3g} m: poor classes, {remedy}")
    if info.gcps[0] or (info.rpcs is not None and info.crs is None):
        lines.append(
            "the scene is placed by control points or RPCs only: kept as they are, polygons are in pixel coordinates"
        )
    elif info.crs is None:
        lines.append(
            "the scene has no CRS: "
            + ("polygons are in pixel coordinates" if info.transform.is_identity else "no areas")
        )
    return lines


def _at_resolution(scene: Scene, model: ModelSpec, spec: PredictSpec) -> Source:
    if spec.resolution == "native":
        return NativeScene(scene)
    wanted = model.resolution_m if spec.resolution == "model" else spec.resolution
    if wanted is None:
        raise SpecError("--resolution model: this model does not know its resolution: give metres instead")
    size = scene.info.pixel_size_m
    if size is None:
        raise SpecError("--resolution needs a scene with a ground size, this one has no usable CRS: leave it out")
    width, height = (
        max(1, round(n * metres / wanted)) for n, metres in zip((scene.width, scene.height), size, strict=True)
    )
    if (height, width) == (scene.height, scene.width):
        return NativeScene(scene)
    if height * width > _MOST_REFINING**2 * scene.height * scene.width:
        raise SpecError(
            f"--resolution {wanted:g}: more than {_MOST_REFINING} times finer than the scene's "
            f"{scene.info.resolution_m:.3g} m: choose a coarser one"
        )
    if _MOST_COARSENING**2 * height * width < scene.height * scene.width:
        raise SpecError(
            f"--resolution {wanted:g}: more than {_MOST_COARSENING} times coarser than the scene's "
            f"{scene.info.resolution_m:.3g} m: choose a finer one"
        )
    return ResampledScene(scene, height, width)


def make_grid(height: int, width: int, model: ModelSpec, spec: PredictSpec = BY_MODEL) -> Grid:
    """Lay the windows in which a model sees a raster.

    Raises:
        SpecError: if the overlap is more than half of the tile.
    """
    multiple = model.network.multiple
    tile = max(1, (spec.tile or model.tile) // multiple) * multiple
    overlap = spec.overlap
    if overlap is None:
        overlap = model.overlap if 2 * model.overlap <= tile else tile // 4
    if 2 * overlap > tile:
        raise SpecError(f"overlap {overlap} is more than half of tile {tile}: lower it or raise the tile")
    return Grid(height, width, tile, overlap, multiple, border=BORDER)
