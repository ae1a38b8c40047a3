"""One scene divided among the workers of an executor: devices of this machine, or the workers of a cluster.

A scene is cut into shards, runs of neighbouring tile rows. A worker writes the tile rows of its shard into the work
folder, with their probabilities at the seams; a seam between two shards is blended when both are there. So no pixel is
forwarded twice, and the classes are those that a single process finds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.events import SILENT, Progress, Reporter, Stage
from geoseg.core.executors.protocol import Executor, Worker, Workplace
from geoseg.core.executors.registry import open_executor
from geoseg.inference.adapted_job import adapt_job, adapted_job
from geoseg.inference.job import Job, curves_of, prepare
from geoseg.inference.scene_ranges import job_with_ranges, ranges_job
from geoseg.inference.tile_rows import run_tile_rows
from geoseg.inference.work_folder import Manifest, WorkFolder
from geoseg.models.downloads import is_address
from geoseg.models.model import Model
from geoseg.raster.curves import Curves
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import PredictSpec, RunSpec

if TYPE_CHECKING:
    from distributed import Client

_SHARDS_PER_WORKER = 4
"""Several, so that workers that finish early take over from the others; each costs a seam on the disk."""


@dataclass(frozen=True)
class Workers:
    """The executor for a scene, with the model and the settings to use."""

    model: Model | str | os.PathLike[str] | None
    """Model as given to `predict`."""
    spec: PredictSpec
    """Settings."""
    scheduler: str | Client | Executor | None = None
    """Address of a Dask cluster, local:N, a client, or an open executor; None for the devices in the settings."""


@dataclass(frozen=True)
class Shard:
    """Neighbouring tile rows of one scene, and what a worker needs to forward them; picklable."""

    scene: SceneRef
    """The scene."""
    model: Model | str | None
    """A bundle's path or a model."""
    spec: PredictSpec
    """Settings."""
    work: Path
    """The work folder."""
    manifest: Manifest
    """Manifest of the work folder."""
    tile_rows: range
    """Rows of the grid."""
    change: Curves | None = None
    """What becomes of the scene's values, if they are matched: found once, the same for all."""


def run_scene(job: Job, work: WorkFolder, workers: Workers, reporter: Reporter = SILENT) -> None:
    """Finish all unfinished tile rows of a scene; the stage `predicting` counts pixels of the source.

    The network is adapted to the scene before, if the settings ask for it; that stage, `adapting`, counts windows.

    Raises:
        GeosegError: as soon as one worker fails; finished tile rows stay.
    """
    devices = find_devices(job.spec.run, job.runner.device)
    job = ranges_job(adapt_job(job, work, reporter), work)
    place = Workplace(workers.scheduler, tuple(devices), partial(_use_threads, threads_each(devices)))
    with open_executor(place) as executor:
        if executor.is_here:
            _run_here(job, work, reporter)
        else:
            _share_out(executor, job, work, workers, reporter)


def _run_here(job: Job, work: WorkFolder, reporter: Reporter) -> None:
    stage = Stage(reporter, "predicting", _source_px(job), _finished_px(job, work))
    stage.advance()
    run_tile_rows(job, work, range(job.grid.rows.count), stage)


def _share_out(executor: Executor, job: Job, work: WorkFolder, workers: Workers, reporter: Reporter) -> None:
    job.view.surroundings(work)  # what all need, once, before everybody makes it

    def watch() -> None:
        reporter.progress(Progress("predicting", _finished_px(job, work), _source_px(job)))

    shards = make_shards(job, work, workers, executor.worker_count)
    with closing(executor.map(run_shard, shards, watch=watch)) as outcomes:
        for outcome in outcomes:
            outcome.result()
    watch()


def _source_px(job: Job) -> int:
    return job.source.height * job.source.width


def _finished_px(job: Job, work: WorkFolder) -> int:
    tile_rows = range(job.grid.rows.count)
    return sum(job.grid.tile_row_core(i).pixels for i in tile_rows if work.is_finished(i))


def make_shards(job: Job, work: WorkFolder, workers: Workers, count: int) -> list[Shard]:
    """Cut a scene into shards, several for each of `count` workers."""
    model = workers.model
    given = _on_cpu(model) if isinstance(model, Model) else bundle_path(model)
    spec = workers.spec
    settings: dict[str, Any] = {
        "aoi": spec.classify.aoi and spec.classify.aoi.absolute(),
        "precision": job.runner.precision,
        "engine": job.resolved.engine,
    }
    settings |= {"rescale": job.resolved.rescale}  # estimated once, the same for all
    scene = SceneRef(job.scene.info.path, job.scene.info.name, bands=job.scene.tags, parts=job.scene.parts)
    whole = Shard(
        scene=scene.absolute(),
        model=given,
        spec=spec.with_settings(**settings),
        work=work.path.absolute(),
        manifest=work.manifest,
        tile_rows=range(job.grid.rows.count),
        change=curves_of(job.bands),
    )
    return [replace(whole, tile_rows=part) for part in split_evenly(whole.tile_rows, _SHARDS_PER_WORKER * count)]


def bundle_path(model: str | os.PathLike[str] | None) -> str | None:
    """Absolute path or address of a bundle; None means the default model."""
    if model is None or os.fspath(model) == "default":
        return None
    return os.fspath(model) if is_address(model) else os.path.abspath(model)


def _on_cpu(model: Model) -> Model:
    """The model on the CPU, so that it can be sent to a process without its device."""
    return replace(model, module=deepcopy(model.module).cpu())


def split_evenly(tile_rows: range, count: int) -> Iterator[range]:
    """Cut a range into at most `count` runs whose lengths differ by one at most."""
    count = min(count, len(tile_rows))
    edges = [tile_rows.start + i * len(tile_rows) // count for i in range(count + 1)]
    return (range(first, last) for first, last in pairwise(edges))


def find_devices(spec: RunSpec, device: torch.device) -> list[str]:
    """Names of the devices that work on a scene, e.g. cuda:0: those named in the settings, or as many as requested.

    Raises:
        SpecError: if this machine lacks them.
    """
    if spec.devices is None:
        return [str(device)]
    numbers = [int(number) for number in spec.devices.split(",")]
    on_gpus = device.type == "cuda"
    if len(numbers) > 1 and not on_gpus:
        raise SpecError(f"devices {spec.devices}: numbers name GPUs, this runs on {device}: give a count, e.g. 2")
    if len(numbers) == 1:
        if not 1 <= numbers[0] <= 64:
            raise SpecError(f"devices {spec.devices}: give a count from 1 to 64, or the numbers of several GPUs")
        numbers = list(range(numbers[0]))
    if on_gpus and (missing := [n for n in numbers if n >= torch.cuda.device_count()]):
        raise SpecError(f"devices {spec.devices}: there is no GPU {missing[0]}: {torch.cuda.device_count()} are here")
    return [f"cuda:{number}" for number in numbers] if on_gpus else [str(device)] * len(numbers)


def threads_each(devices: Sequence[str]) -> int:
    """Number of threads of each process on some devices of this machine."""
    return max(1, torch.get_num_threads() // (1 if devices[0].startswith("cuda") else len(devices)))


def _use_threads(count: int) -> None:
    torch.set_num_threads(count)


def run_shard(worker: Worker, shard: Shard) -> None:
    """Finish the tile rows of a shard that are not finished yet, on a worker's device.

    Raises:
        GeosegError: as `predict` does.
    """
    spec = shard.spec if worker.device is None else shard.spec.with_settings(device=worker.device)
    key = shard.manifest, shard.scene, spec  # the next shard is of the same scene more often than not
    with gdal_settings():
        job = worker.keep(key, partial(_open_job, shard, spec))
        run_tile_rows(job, WorkFolder(shard.work, shard.manifest), shard.tile_rows, Stage(SILENT, "predicting", 0))


@contextmanager
def _open_job(shard: Shard, spec: PredictSpec) -> Iterator[Job]:
    with open_scene(shard.scene) as whole:
        scene = whole.within(spec.classify.aoi, spec.classify.bbox)
        job = prepare(scene, shard.model, spec, SILENT, shard.manifest, change=shard.change)
        if job.fingerprint != shard.manifest.fingerprint:
            raise GeosegError(
                f"{shard.scene.path}, its model or the kind of device is another one here than where the work was "
                "shared out"
            )
        work = WorkFolder(shard.work, shard.manifest)
        yield job_with_ranges(adapted_job(job, work), work)
