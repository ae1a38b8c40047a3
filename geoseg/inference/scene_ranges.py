"""Ranges of a network's values for 8-bit integers, learnt from a scene where the model's bundle has none.

In: a job, or a model and rasters. Out: the same job with ranges, in this process, in others and when resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from geoseg.core.files import write_errors
from geoseg.inference.adapted import WindowSample
from geoseg.inference.job import Job
from geoseg.inference.work_folder import WorkFolder
from geoseg.models.model import Model
from geoseg.models.quantization.network import find_ranges
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.readable import Readable
from geoseg.spec import ClassifySpec

_NAME = "ranges.safetensors"
MOST_WINDOWS = 16
"""Windows of the scene from which ranges are learnt, at most."""
UNMEASURED = (
    "the model's bundle does not say how it does with integers of 8 bits (--precision int8): their ranges are learnt "
    "from windows of the scene, and what they do to its classes is unknown"
)
"""The notice."""


def scene_ranges(model: Model, rasters: Sequence[Readable], spec: ClassifySpec) -> dict[str, Tensor]:
    """Ranges over some windows of rasters; of none if they hold no data."""
    few = spec.model_copy(update={"adapt_windows": min(MOST_WINDOWS, spec.adapt_windows)})
    network, sample = model.module, WindowSample.over(rasters, model.spec, few)
    assert isinstance(network, SegmentationNetwork)
    with gdal_settings():
        return find_ranges(network, (torch.from_numpy(image)[None] for image, _, _ in sample.read()))


def needs_ranges(model: Model, precision: str) -> bool:
    """Whether a model computes with integers, and its bundle has no ranges for them."""
    return precision == "int8" and not model.ranges


def ranges_job(job: Job, work: WorkFolder) -> Job:
    """The job with ranges, where it needs them; found, if the work folder does not hold them.

    Raises:
        GeosegError: if the scene cannot be read, or the work folder cannot be written.
    """
    if not needs_ranges(job.model, job.runner.precision):
        return job
    path = work.path / _NAME
    if not work.seal(_NAME).exists():
        found = scene_ranges(job.model, [job.source], job.resolved)
        with write_errors(work.path.parent):
            path.write_bytes(save(found))
            work.seal_common(path)
    return _with(job, path)


def job_with_ranges(job: Job, work: WorkFolder) -> Job:
    """The job with the ranges that `ranges_job` has found, perhaps in another process.

    Raises:
        OutputError: if the work folder does not hold them.
    """
    if not needs_ranges(job.model, job.runner.precision):
        return job
    if not work.seal(_NAME).exists():
        raise work.damage()
    return _with(job, work.path / _NAME)


def _with(job: Job, path: Path) -> Job:
    job.log.notice(UNMEASURED)
    return job.with_runner(job.runner.with_ranges(load_file(path)))
