"""The engine of `--engine auto`: ONNX Runtime where it is measured to be faster here and that pays; else PyTorch.

In: a job with PyTorch. Out: the same job, or one with ONNX Runtime. Decided once for a scene, by the process that
begins it; workers are given what it decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from geoseg.core.errors import ModelError
from geoseg.core.events import Reporter
from geoseg.inference.engine import onnx_engine
from geoseg.inference.job import Job
from geoseg.models.onnx_engine.body import OnnxBody, OnnxEngine, check_libraries
from geoseg.models.onnx_engine.speed import (
    Speed,
    are_any_remembered,
    first_seconds,
    measure,
    remember,
    remembered,
    speed_name,
)
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.tta import find_augmentations

HOPED_SHARE = 0.75
"""ONNX Runtime's time over PyTorch's where it is the faster one, before anything is measured."""
GRAPH_BATCHES, GRAPH_S = 6, 3.0
"""What the graph for a size of windows takes: so many batches of PyTorch and seconds. Measuring takes as much."""


@dataclass(frozen=True)
class Probe:
    """Where and how engines are measured."""

    threads: int
    """Threads of each process that will work on the scene."""
    measures: bool = True
    """Whether to measure what is not remembered."""


def with_faster_engine(job: Job, probe: Probe, reporter: Reporter) -> Job:
    """The job with the engine that is faster here, if its settings leave that open and its scene is worth it.

    Args:
        job: a job that is begun anew, with PyTorch.
        probe: where its windows will be computed.
        reporter: takes notices of what is measured.
    """
    engine = _engine_in_question(job)
    if engine is None:
        return job
    assert isinstance(job.model.module, SegmentationNetwork)
    name = speed_name(job.model.module.body, engine, (job.grid.tile, job.batch_size), probe.threads)
    speed = remembered(name)
    if speed is not None and not speed.favours_onnx:
        return replace(job, engine_share=speed.share)
    with _threads(probe.threads):
        runner = job.runner.with_onnx(engine)
        assert isinstance(runner.network, SegmentationNetwork)
        body = runner.network.body
        assert isinstance(body, OnnxBody)
        if speed is None and probe.measures:
            speed = _measured(job, body, engine, reporter)
            if speed is not None:
                remember(name, speed)
        if speed is None:
            return job
        known = replace(job, engine_share=speed.share)
        if not speed.favours_onnx or not _pays(job, speed.torch, speed.share or 1, body.missing_graphs()):
            return known
        if probe.measures:
            try:
                body.make_all()  # before several processes do
            except ModelError:
                return known
        return known.with_engine("onnx").with_runner(runner)


def _engine_in_question(job: Job) -> OnnxEngine | None:
    """How ONNX Runtime would run a job's network; None if the job leaves no choice, or a library is missing."""
    given, runner = job.spec.classify, job.runner
    is_open = given.engine == "auto" and not given.compile and given.adapt is None
    if not is_open or (runner.device.type, runner.precision) != ("cpu", "fp32"):
        return None
    if not isinstance(job.model.module, SegmentationNetwork):
        return None
    if not are_any_remembered() and not _pays(job, math.inf, HOPED_SHARE, 1):
        return None
    try:
        check_libraries()  # which loads them
    except ModelError:
        return None
    settings = job.resolved.model_copy(update={"engine": "onnx"})
    augmentations = find_augmentations(settings.tta, settings.tta_scales)
    engine = onnx_engine(job.model, settings, [job.grid], augmentations)
    return None if engine is None else replace(engine, is_made_at_once=False)


def _pays(job: Job, torch_s: float, share: float, graphs: int) -> bool:
    """Whether a scene saves more time than the graphs take that are to be made.

    Args:
        job: the job.
        torch_s: seconds that PyTorch takes for a batch.
        share: ONNX Runtime's time over that.
        graphs: number of graphs.
    """
    resolved = job.resolved
    views = len(find_augmentations(resolved.tta, resolved.tta_scales))
    batches = math.ceil(len(job.grid) / job.batch_size) * job.view.forwarded_share * views
    return (1 - share) * batches > graphs * (GRAPH_BATCHES + GRAPH_S / torch_s)


def _measured(job: Job, body: OnnxBody, engine: OnnxEngine, reporter: Reporter) -> Speed | None:
    """The speed of both engines, measured on one batch; None where that would not pay."""
    graphs = body.missing_graphs() + 1
    if not _pays(job, math.inf, HOPED_SHARE, graphs):
        return None
    shape = job.batch_size, engine.bands, *max(engine.sizes)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=torch.channels_last)
    fastest = job.runner.fastest
    assert isinstance(fastest, SegmentationNetwork)
    try:
        torch_s = first_seconds(fastest.body, image, decoded=engine.decoded)
        if not _pays(job, torch_s, HOPED_SHARE, graphs):
            return None
        reporter.notice("measuring whether ONNX Runtime is faster than PyTorch here, which is remembered")
        speed = measure(fastest.body, body, image, decoded=engine.decoded)
    except Exception:  # such as too little memory: the windows themselves will tell, or be fewer at once
        return None
    reporter.notice(_finding(speed))
    return speed


def _finding(speed: Speed) -> str:
    if speed.share is None:
        return "ONNX Runtime cannot run this network: PyTorch does"
    chosen = "it is taken where that pays" if speed.favours_onnx else "PyTorch is taken"
    return f"ONNX Runtime takes {speed.share:.2f} of PyTorch's time here, as measured: {chosen}"


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """A context in which PyTorch, and sessions that are opened, have a number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
