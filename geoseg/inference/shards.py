"""One scene shared among processes: devices of this machine, or the workers of a Dask cluster.

A scene is cut into shards, stretches of neighbouring swaths. Who takes a shard writes its swaths into the work folder,
and what they leave at their seams; a seam between two shards is finished when both are there. So no pixel is forwarded
twice, and the classes are those that one process finds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

import torch

from geoseg.core.errors import GeosegError, SpecError
from geoseg.core.events import SILENT
from geoseg.inference.job import Job, prepare
from geoseg.inference.tile_rows import run_swaths
from geoseg.inference.views.pyramids import job_pyramid
from geoseg.inference.views.refine import job_classes
from geoseg.inference.work_folder import Manifest, WorkFolder
from geoseg.models.bundle import Model
from geoseg.raster.bands.tags import BandTag
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.scene import Scene
from geoseg.spec import PredictSpec, RunSpec

if TYPE_CHECKING:
    from distributed import Client

Advance = Callable[[int, int], None]
"""Called with the finished pixels of the source and all of them."""
_SHARDS_PER_WORKER = 4
"""So many that whoever is done early takes over from the others; each costs a seam on the disk."""
POLL_S = 0.5


@dataclass(frozen=True)
class Workers:
    """Who works on a scene, and with what."""

    model: Model | str | os.PathLike[str] | None
    """As it was given to `predict`."""
    spec: PredictSpec
    """Settings."""
    scheduler: str | Client | None = None
    """Address of a Dask cluster, local:N, or a client; None for this process or the devices in the settings."""


@dataclass(frozen=True)
class Shard:
    """Neighbouring swaths of one scene, and all that is needed to forward them, on any machine that sees the files."""

    scene: str
    """As GDAL opens it."""
    model: Model | str | None
    """A bundle's path or a model."""
    spec: PredictSpec
    """Settings."""
    work: Path
    """The work folder."""
    manifest: Manifest
    """What the work folder is of."""
    swaths: range
    """Rows of the grid."""
    tags: tuple[BandTag, ...] = ()
    """What is said of the scene's bands, for where its file says nothing."""


def run_scene(job: Job, work: WorkFolder, workers: Workers, advance: Advance) -> None:
    """Finish all swaths of a scene that are not finished yet.

    Raises:
        GeosegError: as soon as one worker fails; what is finished stays.
    """
    swaths, total = range(job.grid.rows.count), job.source.height * job.source.width
    devices = find_devices(job.spec.run, job.runner.device)
    if workers.scheduler is None and len(devices) == 1:
        done = _finished_px(job, work)
        advance(done, total)

        def add(pixels: int) -> None:
            nonlocal done
            done += pixels
            advance(done, total)

        run_swaths(job, work, swaths, add)
        return
    if job.refines:  # once, before everybody does
        job_classes(job, work)
    elif job.context is not None:
        job_pyramid(job, work)
    watch = lambda: advance(_finished_px(job, work), total)  # noqa: E731 - a callable to be handed on
    if workers.scheduler is not None:
        from geoseg.inference.cluster import run_on_cluster

        run_on_cluster(workers.scheduler, partial(make_shards, job, work, workers), watch)
    else:
        run_on_devices(make_shards(job, work, workers, len(devices)), devices, watch)


def _finished_px(job: Job, work: WorkFolder) -> int:
    swaths = range(job.grid.rows.count)
    return sum(job.grid.swath_core(i).pixels for i in swaths if work.is_finished(i))


def make_shards(job: Job, work: WorkFolder, workers: Workers, count: int) -> list[Shard]:
    """Cut a scene into shards, several for each of `count` workers."""
    model = workers.model
    given = _on_cpu(model) if isinstance(model, Model) else bundle_path(model)
    spec = workers.spec
    files = {"aoi": spec.classify.aoi and spec.classify.aoi.absolute(), "precision": job.runner.precision}
    path = job.scene.info.path
    whole = Shard(
        scene=os.path.abspath(path) if os.path.exists(path) else path,
        model=given,
        spec=spec.with_settings(**files),
        work=work.path.absolute(),
        manifest=work.manifest,
        swaths=range(job.grid.rows.count),
        tags=job.scene.tags,
    )
    return [replace(whole, swaths=part) for part in split_evenly(whole.swaths, _SHARDS_PER_WORKER * count)]


def bundle_path(model: str | os.PathLike[str] | None) -> str | None:
    """Where a bundle lies, from anywhere; None means the default model."""
    return None if model is None or os.fspath(model) == "default" else os.path.abspath(model)


def _on_cpu(model: Model) -> Model:
    """A model that can be sent to another process, which need not have the same device."""
    return Model(model.spec, deepcopy(model.module).cpu())


def split_evenly(swaths: range, count: int) -> Iterator[range]:
    """Cut a range into at most `count` stretches whose lengths differ by one at most."""
    count = min(count, len(swaths))
    edges = [swaths.start + i * len(swaths) // count for i in range(count + 1)]
    return (range(first, last) for first, last in pairwise(edges))


def find_devices(spec: RunSpec, device: torch.device) -> list[str]:
    """The devices that share a scene: those that were named, or as many as were asked for.

    Raises:
        SpecError: if this machine does not have them.
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


def run_on_devices(shards: Sequence[Shard], devices: Sequence[str], watch: Callable[[], None]) -> None:
    """Run shards in one process for each device.

    Raises:
        GeosegError: if one of them fails, or its process dies.
    """
    context = get_context("spawn")
    free: SimpleQueue[str] = context.SimpleQueue()
    for device in devices:
        free.put(device)
    threads = max(1, torch.get_num_threads() // (1 if devices[0].startswith("cuda") else len(devices)))
    pool = ProcessPoolExecutor(len(devices), context, _take_device, (free, threads))
    try:
        futures = [pool.submit(run_shard, shard) for shard in shards]
        _wait_for_all(futures, watch)
    except BaseException as error:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # what is finished stays, nobody waits for the rest
        if isinstance(error, BrokenProcessPool):
            raise GeosegError(
                "a process died, perhaps for lack of memory: --resume goes on, with fewer devices"
            ) from None
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _wait_for_all(futures: Sequence[Future[Any]], watch: Callable[[], None]) -> None:
    """Wait for futures, the first error comes up at once."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, POLL_S, FIRST_EXCEPTION)
        for future in done:
            future.result()
        watch()


ONE_AT_A_TIME = Lock()
"""Held while a process works: a Dask worker has several threads, a scene and a network are for one."""
_device: str | None = None
"""The device of this process, if it is one of several."""


def _take_device(free: SimpleQueue[str], threads: int) -> None:
    """Make one of the devices that of this process."""
    global _device
    _device = free.get()
    torch.set_num_threads(threads)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once the one that started it is gone, however that ended."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_shard(shard: Shard) -> None:
    """Finish the swaths of a shard that are not finished yet.

    Raises:
        GeosegError: as `predict` does.
    """
    spec = shard.spec if _device is None else shard.spec.with_settings(device=_device)
    with ONE_AT_A_TIME, gdal_settings():
        job = _open_job(shard, spec)
        run_swaths(job, WorkFolder(shard.work, shard.manifest), shard.swaths, lambda _pixels: None)


_held: tuple[Any, Job, ExitStack] | None = None
"""The job of the last shard: the next one is of the same scene more often than not."""


def _open_job(shard: Shard, spec: PredictSpec) -> Job:
    global _held
    key = shard.manifest.fingerprint, shard.scene, spec
    if _held is not None and _held[0] == key:
        return _held[1]
    if _held is not None:
        _held[2].close()
        _held = None
    stack = ExitStack()
    scene = stack.enter_context(Scene.open(shard.scene, tags=shard.tags))
    scene.limit(spec.classify.aoi, spec.classify.bbox)
    job = prepare(scene, shard.model, spec, SILENT, shard.manifest)
    if job.fingerprint != shard.manifest.fingerprint:
        stack.close()
        raise GeosegError(
            f"{shard.scene}, its model or the kind of device is another one here than where the work was shared out"
        )
    _held = key, job, stack
    return job
