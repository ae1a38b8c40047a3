"""`geoseg predict --dry-run`: windows, memory and disk space of a prediction before it starts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, Unpack

from geoseg.commands.output_paths import check_outputs, name_outputs
from geoseg.core.events import SILENT
from geoseg.core.memory import GROWTH
from geoseg.inference.cores import part_formats, raster_formats
from geoseg.inference.faster_engine import Probe, with_faster_engine
from geoseg.inference.job import Job, prepare
from geoseg.inference.shards import find_devices, threads_each
from geoseg.models.memory import activation_bytes
from geoseg.models.model import Model
from geoseg.models.other_runtime import count_weights
from geoseg.outputs.geotiff import INSTANCES_FORMAT
from geoseg.raster.gdal import CACHE_MB, gdal_settings
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import PredictSpec, parse_spec, split_existing
from geoseg.spec.settings import PredictSettings

LIBRARIES_MB = 1050
"""Memory of Python, PyTorch and GDAL before they do anything, as measured with PyTorch's CUDA build."""


@dataclass(frozen=True)
class PredictPlan:
    """Windows, memory and disk space of a prediction."""

    scene: str
    """The scene as it was given."""
    model: str
    """Name of the model."""
    scene_px: int
    """Pixels of the scene."""
    windows: int
    """Windows in the grid, those without data included."""
    window: tuple[int, int]
    """Height and width of a window."""
    forwarded_px: int
    """Pixels that the network sees if no window is empty."""
    memory_bytes: int
    """Rough peak memory of the process."""
    output_bytes: dict[str, int]
    """Size of each raster before compression, by path."""
    scratch_bytes: int
    """Disk space taken while at work."""
    settings: dict[str, Any]
    """The settings as resolved."""
    notices: tuple[str, ...]
    """Sentences for the user."""


def plan_prediction(
    scene: str | os.PathLike[str] | SceneRef,
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    **settings: Unpack[PredictSettings],
) -> PredictPlan:
    """Plan `predict` with the same arguments, without running the network.

    Raises:
        GeosegError: as predict does.
    """
    existing, of_scene = split_existing(settings)
    spec = parse_spec(PredictSpec, of_scene, source="settings")
    with gdal_settings(), open_scene(scene) as whole:
        opened = whole.within(spec.classify.aoi, spec.classify.bbox)
        job = prepare(opened, model, spec, SILENT)
        probe = Probe(threads_each(find_devices(spec.run, job.runner.device)), measures=False)
        job = with_faster_engine(job, probe, SILENT)
        paths = name_outputs(opened.info.name, output, spec)
        check_outputs(paths, opened.info.path, overwrite=existing.may_replace)
        formats = raster_formats(job) | {"instances": INSTANCES_FORMAT}
        layouts = {path: formats[kind] for kind, path in paths.by_kind().items() if kind in formats}
        return PredictPlan(
            scene=opened.info.public_path,
            model=job.model.spec.name,
            scene_px=opened.info.pixels,
            windows=len(job.grid),
            window=(job.grid.rows.size, job.grid.cols.size),
            forwarded_px=round(job.grid.forwarded_px * job.view.forwarded_share),
            memory_bytes=memory_bytes(job),
            output_bytes={str(p): layout.bytes_per_pixel() * opened.info.pixels for p, layout in layouts.items()},
            scratch_bytes=scratch_bytes_per_pixel(job) * opened.info.pixels,
            settings=job.settings,
            notices=job.notices,
        )


def scratch_bytes_per_pixel(job: Job) -> int:
    """Bytes of disk space per pixel for the parts of rasters, overviews of classes and, at worst as much again as the
    parts, the files made of them."""
    once = sum(layout.bytes_per_pixel() for layout in raster_formats(job).values())
    before = 0 if job.crf is None else sum(layout.bytes_per_pixel() for layout in part_formats(job).values())
    vector = job.spec.vector
    numbers = 3 * INSTANCES_FORMAT.bytes_per_pixel() if vector.instances is not None else 0
    return before + 2 * once + 1 + numbers + vector.generalizes + math.ceil(job.view.scratch_bytes)


def memory_bytes(job: Job) -> int:
    """Rough peak memory: interpreter and libraries, weights, activations, windows in the queue, blending, caches, and
    freed memory that is kept."""
    grid, classes = job.grid, len(job.model.spec.classes)
    window_px = grid.rows.size * grid.cols.size
    copies = 3 if job.runner.device.type == "cpu" else 1  # as read, with normalisations folded, and as oneDNN has them
    weights = copies * 4 * count_weights(job.model.module)
    bytes_each = 4 if job.runner.precision == "fp32" else 2
    activations = job.batch_size * activation_bytes(job.model.module, len(job.model.spec.bands), window_px, bytes_each)
    queue = 4 * job.batch_size * window_px * (job.bands.value_type.itemsize * len(job.model.spec.bands) + 1)
    blending = job.view.maps_held * 4 * classes * window_px * job.batch_size
    crf = 0 if job.crf is None else job.crf.memory_bytes  # when the network's activations are gone
    held = (LIBRARIES_MB + CACHE_MB) * 2**20 + weights + max(activations + queue + blending, crf)
    return int((1 + GROWTH) * held)
