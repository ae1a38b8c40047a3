"""`geoseg predict`: from a scene to a land-cover raster, polygons and a preview.

In: a scene, a model, a PredictSpec. Out: files, and a result that describes them. Prints nothing: progress and notices
go to a reporter.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from geoseg.commands.finished import is_done, stated_confidence, stated_engine, stated_instances, stated_unlikeness
from geoseg.commands.output_paths import OutputPaths, check_outputs, check_space, name_outputs
from geoseg.commands.plan import scratch_bytes_per_pixel
from geoseg.commands.results import Results, VectorCounts, generalize, parts_of
from geoseg.core.errors import OutputError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.files import one_line, write_errors
from geoseg.inference.apply_crf import apply_crf
from geoseg.inference.assemble import assemble
from geoseg.inference.class_shares import ClassShare, class_shares
from geoseg.inference.cores import kept_outputs
from geoseg.inference.faster_engine import Probe, with_faster_engine
from geoseg.inference.job import Job, prepare
from geoseg.inference.resume import begin
from geoseg.inference.shards import Workers, find_devices, run_scene, threads_each
from geoseg.inference.work_folder import WorkFolder, locked
from geoseg.models.model import Model
from geoseg.outputs.attribute_table import read_counts
from geoseg.outputs.drafts import open_drafts
from geoseg.raster.gdal import gdal_settings
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import PredictSpec, parse_spec, split_existing
from geoseg.spec.settings import PredictSettings

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class PredictResult:
    """The result of a prediction."""

    scene: str
    """The scene as it was given, without passwords, keys and signatures."""
    model: str
    """Name of the model."""
    paths: dict[str, Path]
    """Files written, by kind: landcover, polygons, preview, scores, confidence, uncertainty, instances, style, sld,
    item; polygons_shp and the like for further formats."""
    classes: tuple[ClassShare, ...]
    """Share of each class of the model."""
    polygons: int | None
    """Number of polygons; None without polygons."""
    instances: int | None
    """Number of instances; None if none are numbered."""
    scene_px: int
    """Pixels of the scene."""
    valid_px: int
    """Pixels with data."""
    confidence: float | None
    """Mean probability of the chosen class over pixels with data, 0 to 1; None where it is unknown."""
    forwarded_px: int
    """Pixels that the network has classified, overlaps included."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    engine_share: float | None
    """Time of ONNX Runtime over that of PyTorch, where it was measured for `engine` auto; None elsewhere."""
    seconds: dict[str, float]
    """Wall time by stage, and in total."""
    settings: dict[str, Any]
    """The settings as resolved."""
    notices: tuple[str, ...]
    """Sentences for the user."""


def predict(
    scene: str | os.PathLike[str] | SceneRef,
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    name: str | None = None,
    scheduler: str | Client | None = None,
    reporter: Reporter = SILENT,
    **settings: Unpack[PredictSettings],
) -> PredictResult:
    """Classify a scene and write its class raster, polygons and preview.

    Args:
        scene: anything GDAL opens, or one of what `find_scenes` finds.
        output: a folder (default: the current one), or the path of the class raster, ending in .tif.
        model: a bundle's path or a loaded model, which is moved to the device and stays there; None means the
            default model.
        name: base name of the results; default: the name of the scene's file.
        scheduler: share the scene among the workers of a Dask cluster: its address, local:N for N processes here, or
            a client of it.
        reporter: takes notices, and the progress of `adapting`, `predicting`, `crf`, `writing`, `preview` and
            `polygons`.
        settings: fields of PredictSpec; overwrite=True to replace results that exist, which are refused before any
            work is done without it; resume=True to go on where a run with the same scene, model and settings was
            stopped; nothing is done if it was not.

    Raises:
        GeosegError: one line: what is wrong, what to do. What was computed is kept for `resume`, nothing else stays.
    """
    existing, of_scene = split_existing(settings)
    spec = parse_spec(PredictSpec, of_scene, source="settings")
    with gdal_settings(), open_scene(scene, name) as whole:
        opened = whole.within(spec.classify.aoi, spec.classify.bbox)
        paths = name_outputs(opened.info.name, output, spec)
        check_outputs(paths, opened.info.path, overwrite=existing.may_replace)
        with locked(paths.landcover) as work:
            begun = work.read_manifest() if existing.resume else None
            job = prepare(opened, model, spec, reporter, begun)
            if existing.resume and not existing.overwrite and paths.landcover.exists():
                made = _by_stated_engine(job, paths) if begun is None else job
                if is_done(paths, spec, made.fingerprint):
                    reporter.notice(f"done already: {paths.landcover}")
                    work.remove()
                    return _done_before(made, paths)
                reporter.notice(f"{paths.landcover} is there, but not all that belongs to it: it is made again")
            probe = Probe(threads_each(find_devices(spec.run, job.runner.device)))
            if begun is None and scheduler is None:  # workers of a cluster may be other machines
                job = with_faster_engine(job, probe, reporter)
            check_space(paths.landcover.parent, opened.held_pixels, scratch_bytes_per_pixel(job), work.size())
            begin(work, job.manifest, resume=existing.resume, kept=kept_outputs(job), reporter=reporter)
            result = _run(job, work, paths, Workers(model, spec, scheduler), reporter)
            work.remove()
            return result


def _by_stated_engine(job: Job, paths: OutputPaths) -> Job:
    """The job as the engine does it that made the class raster, if the settings leave that open."""
    is_other = job.spec.classify.engine == "auto" and stated_engine(paths.landcover) == "onnx"
    return job.with_engine("onnx") if is_other and job.runner.precision == "fp32" else job


def _run(job: Job, work: WorkFolder, paths: OutputPaths, workers: Workers, reporter: Reporter) -> PredictResult:
    clock = _Clock()
    with write_errors(paths.landcover.parent), open_drafts(paths.landcover, paths, parts_of(paths.polygons)) as drafts:
        run_scene(job, work, workers, reporter)
        clock.lap("predict")
        assembled = assemble(job, work)
        if job.crf is not None:
            assembled = apply_crf(job, job.crf, assembled, reporter)
            clock.lap("crf")
        if job.spec.vector.generalizes:
            generalize(job, assembled)
            clock.lap("generalize")
        classes = class_shares(assembled, job.scene.info, job.model.spec.classes)
        results = Results(job, assembled, classes, paths, drafts, reporter)
        results.write_rasters()
        clock.lap("write")
        with drafts.publishing():
            if paths.preview:
                results.write_preview(paths.preview)
            clock.lap("preview")
            counts = results.write_vectors() if paths.polygons or paths.instances else VectorCounts()
            clock.lap("polygons")
            if paths.item:
                results.write_item(paths.item)
    about = _About(classes, counts, assembled.confidence, assembled.forwarded_px, clock.seconds())
    return _result(job, paths, about)


@dataclass(frozen=True)
class _About:
    """Figures of a finished prediction, as `PredictResult` has them."""

    classes: tuple[ClassShare, ...]
    counts: VectorCounts
    confidence: float | None
    forwarded_px: int
    seconds: dict[str, float]


def _result(job: Job, paths: OutputPaths, about: _About) -> PredictResult:
    return PredictResult(
        scene=job.scene.info.public_path,
        model=job.model.spec.name,
        paths=paths.by_kind(),
        classes=about.classes,
        polygons=about.counts.polygons,
        instances=about.counts.instances,
        scene_px=job.scene.info.pixels,
        valid_px=sum(c.pixels for c in about.classes),
        confidence=about.confidence,
        forwarded_px=about.forwarded_px,
        device=str(job.runner.device),
        precision=job.runner.precision,
        engine_share=job.engine_share,
        seconds=about.seconds,
        settings=job.settings,
        notices=job.notices,
    )


def _done_before(job: Job, paths: OutputPaths) -> PredictResult:
    """The result of an earlier run, from the table and the tags of its raster; no pixel is read."""
    if (line := stated_unlikeness(paths.landcover)) is not None:
        job.log.notice(line)
    known = read_counts(paths.landcover) or {}
    total = max(1, sum(pixels for pixels, _ in known.values()))
    classes = tuple(
        ClassShare(c.id, c.name, pixels, pixels / total, area)
        for c in job.model.spec.classes
        for pixels, area in [known.get(c.id, (0, None))]
    )
    polygons = _count_polygons(paths.polygons[0]) if paths.polygons else None
    counts = VectorCounts(polygons, stated_instances(paths.instances) if paths.instances else None)
    return _result(job, paths, _About(classes, counts, stated_confidence(paths.landcover), 0, {"total": 0.0}))


def _count_polygons(path: Path) -> int:
    from geoseg.vector.formats import format_of  # only polygons need its libraries

    try:
        return format_of(path).count(path)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"{path} is damaged: {one_line(error)}: pass --overwrite to make it again") from None


class _Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.monotonic()
        self._laps[stage], self._last = now - self._last, now

    def seconds(self) -> dict[str, float]:
        return self._laps | {"total": self._last - self._start}
