"""One scene, one model and their settings, checked to fit, before any pixel is forwarded.

In: an open scene, a model, a PredictSpec. Out: a Job: what is read, on which grid, how it is run. Writes nothing.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import torch

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.events import NoticeLog, Reporter
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Grid
from geoseg.inference.fingerprint import fingerprint
from geoseg.inference.notices import MOST_REFINING, fill_notice, scene_notices
from geoseg.inference.views import VIEWS
from geoseg.inference.views.view import View, ViewInputs
from geoseg.inference.work_folder import Manifest
from geoseg.models.bundle import load_model
from geoseg.models.memory import activation_bytes, free_bytes
from geoseg.models.model import Model
from geoseg.models.runner import Runner, choose_device, choose_precision
from geoseg.models.tta import find_augmentations
from geoseg.raster.bands.matching import BandChoice, check_dtype, choose_bands
from geoseg.raster.legend import Legend
from geoseg.raster.resample import NativeScene, ResampledScene, Source
from geoseg.raster.scene import Scene, plain_number
from geoseg.spec import ClassifySpec, ModelSpec, PredictSpec
from geoseg.spec.branch import PLAIN, BranchSpec
from geoseg.vector.settings import check_settings

BY_MODEL = ClassifySpec()
"""Everything as the model has it."""
BORDER = 32
"""Pixels by which a scene is reflected on each side, so that its edge is never the network's edge."""
_CPU_BATCH_PX, _GPU_BATCH_PX = 2**20, 2**23
"""Most pixels forwarded at once: larger batches are no faster."""
_MEMORY_SHARE = 0.6
"""Part of the free memory that a batch may take; estimates are rough, and memory is handed out in pieces."""
_SMALLEST_TILE = 256
_MOST_COARSENING = 64
"""How many times coarser than the scene's own pixels --resolution may be."""


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
    fingerprint: str
    view: View
    """What the network sees besides its windows."""
    notices: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> Manifest:
        """What a work folder says of this job."""
        return Manifest(self.fingerprint, self.grid.tile, self.batch_size, self.grid.overlap)

    @property
    def wants_confidence(self) -> bool:
        """Whether the probability of the chosen class is kept: for its own raster, or for the polygons."""
        return self.spec.output.polygons or self.spec.output.confidence is not None


def prepare(
    scene: Scene,
    model: Model | str | os.PathLike[str] | None,
    spec: PredictSpec,
    reporter: Reporter,
    begun: Manifest | None = None,
) -> Job:
    """Hold a scene, a model and settings against each other; what was fitted when the work was begun stays.

    Raises:
        GeosegError: if they don't fit: which, and the way out.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    log = NoticeLog(reporter)
    choice = _choose_values(scene, loaded.spec, spec, log)
    pixels = spec.classify
    source = _at_resolution(scene, loaded.spec, pixels)
    device = choose_device(spec.run.device)
    precision = choose_precision(pixels.precision, device)
    fitted = pixels if begun is None else pixels.model_copy(update={"tile": pixels.tile or begun.tile})
    grid = _fitting_grid(source, loaded, fitted, device, precision, log)
    batch_size = spec.run.batch_size or (begun.batch_size if begun else _fitting_batch(grid, loaded, device, precision))
    runner = Runner(
        loaded.module,
        str(device),
        precision,
        augmentations=find_augmentations(pixels.tta, pixels.tta_scales),
        multiple=loaded.spec.network.multiple,
        compiled_sizes=set(product(grid.rows.sizes, grid.cols.sizes)) if pixels.compile else (),
        bands=len(loaded.spec.bands),
        reporter=log,
    )
    resolved = pixels.model_copy(
        update={
            "tile": grid.tile,
            "overlap": grid.overlap,
            "precision": runner.precision,
            "bands": choice.indexes,
            "nodata": pixels.nodata if pixels.nodata == "auto" else plain_number(pixels.nodata),
        }
    )
    running = {"batch_size": batch_size, "device": str(runner.device)}
    settings = spec.vector.model_dump(mode="json") | resolved.model_dump(mode="json", warnings=False) | running
    wanted = make_grid(source.height, source.width, loaded.spec, pixels)
    refines = loaded.spec.refine is not None and pixels.context
    decided = resolved.model_copy(
        update={
            "tile": wanted.tile,
            "overlap": wanted.overlap,
            "context": pixels.context and (loaded.spec.context is not None or refines),
            "refine_fraction": pixels.refine_fraction if refines else 1.0,
        }
    )
    digest = fingerprint(scene, loaded, decided, device.type)
    inputs = ViewInputs(scene, source, grid, loaded.spec, runner, pixels, batch_size)
    view = VIEWS.get(branch_of(loaded.spec, pixels).kind)(inputs)
    return Job(scene, source, loaded, spec, grid, runner, batch_size, settings, digest, view, log.lines)


def branch_of(model: ModelSpec, spec: ClassifySpec) -> BranchSpec:
    """What a model sees besides its windows under some settings, which may leave that out."""
    return model.branch if spec.context else PLAIN


def _check_nodata(value: float | str | None, dtype: str) -> None:
    """Refuse a value for pixels without data that no pixel of a type can have.

    Raises:
        SpecError: if it is one.
    """
    if value is None or isinstance(value, str) or np.dtype(dtype).kind == "f":
        return
    limits = np.iinfo(dtype)
    if not (math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max):
        raise SpecError(
            f"nodata {value:g}: no {dtype} value can be that: give a whole number from {limits.min} to {limits.max}"
        )


def _choose_values(scene: Scene, model: ModelSpec, spec: PredictSpec, reporter: Reporter) -> BandChoice:
    """Choose the bands of a scene, what their values stand for, and which pixels hold data.

    Raises:
        GeosegError: if the scene does not fit the model or the settings.
    """
    pixels = spec.classify
    choice = choose_bands(model.bands, scene.info.colors, scene.info.descriptions, pixels.bands)
    if pixels.rescale is None:
        check_dtype(scene.info.dtype_of(choice.indexes), model.dtype, _suggestion(scene, choice, model))
    _check_nodata(pixels.nodata, scene.info.dtype_of(choice.indexes))
    scene.select(
        choice.indexes,
        nodata=None if pixels.nodata == "auto" else pixels.nodata,
        rescale=pixels.rescale,
        dtype=model.dtype,
        scaling=model.scaling,
    )
    grid = PixelGrid(scene.height, scene.width, scene.info.transform, scene.info.crs)
    check_settings(spec.vector, grid, Legend.of(model.classes), scene.info.path)
    for line in scene_notices(scene.info, choice, model, pixels):
        reporter.notice(line)
    fill = scene.find_fill()
    if pixels.nodata == "auto" and fill is not None:
        scene.leave_out(fill)
    if (of_fill := fill_notice(fill, pixels)) is not None:
        reporter.notice(of_fill)
    return choice


def _fitting_grid(
    source: Source, model: Model, spec: ClassifySpec, device: torch.device, precision: str, reporter: Reporter
) -> Grid:
    """Lay windows of the model's size, or of half of it, or less, if the device's memory holds no larger one."""
    grid = make_grid(source.height, source.width, model.spec, spec)
    if spec.tile is not None:
        return grid
    while not _windows_in_memory(grid, model, device, precision) and grid.tile >= 2 * _SMALLEST_TILE:
        halved = spec.model_copy(update={"tile": grid.tile // 2})
        smaller = make_grid(source.height, source.width, model.spec, halved)
        if smaller.tile >= grid.tile:  # it is the network's stride
            return grid
        grid = smaller
        reporter.notice(f"{device} has little free memory: windows of {grid.tile} pixels")
    return grid


def _fitting_batch(grid: Grid, model: Model, device: torch.device, precision: str) -> int:
    """How many windows are forwarded at once."""
    most = _CPU_BATCH_PX if device.type == "cpu" else _GPU_BATCH_PX
    wanted = max(1, min(32, most // (grid.rows.size * grid.cols.size)))
    return max(1, min(wanted, _windows_in_memory(grid, model, device, precision)))


def _windows_in_memory(grid: Grid, model: Model, device: torch.device, precision: str) -> int:
    """How many windows the device's free memory holds."""
    free = free_bytes(device)
    window_px = grid.rows.size * grid.cols.size
    each = activation_bytes(model.module, len(model.spec.bands), window_px, 4 if precision == "fp32" else 2)
    return int(_MEMORY_SHARE * free / each) if free is not None and each else 32


def _suggestion(scene: Scene, choice: BandChoice, model: ModelSpec) -> tuple[float, float] | None:
    """A --rescale that fits, looked up only when one is needed."""
    try:
        check_dtype(scene.info.dtype_of(choice.indexes), model.dtype, None)
    except GeosegError:
        return scene.suggest_rescale(choice.indexes)
    return None


def _at_resolution(scene: Scene, model: ModelSpec, spec: ClassifySpec) -> Source:
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
    return ResampledScene(scene, height, width)


def make_grid(height: int, width: int, model: ModelSpec, spec: ClassifySpec = BY_MODEL) -> Grid:
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
    try:
        branch_of(model, spec).check_tile(tile, "tile")
    except ValueError as error:
        raise SpecError(str(error)) from None
    return Grid(height, width, tile, overlap, multiple, border=BORDER)
