"""From a scene to a land-cover raster, polygons and a preview, end to end.

In: a scene, a model, a PredictSpec. Out: files, and a result that says what they hold. Prints nothing: what it
says goes to a reporter.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from geoseg.commands.finished import is_done
from geoseg.commands.output_paths import OutputPaths, check_outputs, check_space, name_outputs
from geoseg.commands.plan import scratch_bytes_per_pixel
from geoseg.core.errors import GeosegError, OutputError
from geoseg.core.events import SILENT, Progress, Reporter, Stage
from geoseg.core.files import publish, sync_names, workspace, write_errors
from geoseg.core.memory import give_back_memory
from geoseg.core.naming import layer_name
from geoseg.geo.georef import PixelGrid
from geoseg.inference.assemble import Assembled, ClassShare, assemble, class_shares, replace_classes
from geoseg.inference.cores import kept_outputs
from geoseg.inference.job import Job, prepare
from geoseg.inference.resume import begin
from geoseg.inference.shards import Workers, find_devices, run_scene
from geoseg.inference.work_folder import WorkFolder, locked
from geoseg.models.model import Model
from geoseg.outputs.attribute_table import read_counts, write_aux
from geoseg.outputs.geotiff import write_cog
from geoseg.outputs.stac import Prediction, landcover_item
from geoseg.outputs.styles import add_layer_style, raster_sld, shared_qml, vector_qml, vector_sld, write_style_files
from geoseg.outputs.thumbnail import stretch
from geoseg.raster.class_raster import open_classes, open_raster, read_strips
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.legend import Legend
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import NODATA_ID, PredictSpec, parse_spec, split_existing
from geoseg.spec.settings import PredictSettings

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True)
class PredictResult:
    """What a prediction made."""

    scene: str
    """The scene as it was given, without passwords, keys and signatures."""
    model: str
    """Name of the model."""
    paths: dict[str, Path]
    """Files written, by kind: landcover, polygons, preview, scores, confidence, style, sld, item."""
    classes: tuple[ClassShare, ...]
    """Share of each class of the model."""
    polygons: int | None
    """Number of polygons, None if none were wanted."""
    scene_px: int
    """Pixels of the scene."""
    valid_px: int
    """Pixels with data."""
    forwarded_px: int
    """Pixels that the network saw."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    seconds: dict[str, float]
    """Wall time by stage, and in total."""
    settings: dict[str, Any]
    """The settings as resolved."""
    notices: tuple[str, ...]
    """What a person should know."""


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
        name: what the results are called after; default: the scene's file.
        scheduler: share the scene among the workers of a Dask cluster: its address, local:N for N processes here, or
            a client of it.
        reporter: takes notices, and the progress of `predicting`, `writing`, `preview` and `polygons`.
        settings: fields of PredictSpec; overwrite=True to replace results that exist, which are refused before any
            work is done without it; resume=True to go on where a run with the same scene, model and settings was
            stopped; nothing is done if it was not.

    Raises:
        GeosegError: one line: what is wrong, what to do. What was computed is kept for `resume`, nothing else stays.
    """
    existing, of_scene = split_existing(settings)
    spec = parse_spec(PredictSpec, of_scene, source="settings")
    with gdal_settings(), open_scene(scene, name) as opened:
        opened.limit(spec.classify.aoi, spec.classify.bbox)
        paths = name_outputs(opened.info.name, output, spec.output)
        check_outputs(paths, opened.info.path, overwrite=existing.may_replace)
        with locked(paths.landcover) as work:
            job = prepare(opened, model, spec, reporter, work.read_manifest() if existing.resume else None)
            if existing.resume and not existing.overwrite and paths.landcover.exists():
                if is_done(paths, spec, job.fingerprint):
                    reporter.notice(f"done already: {paths.landcover}")
                    work.remove()
                    return _done_before(job, paths)
                reporter.notice(f"{paths.landcover} is there, but not all that belongs to it: it is made again")
            find_devices(spec.run, job.runner.device)
            check_space(paths.landcover.parent, opened.held_pixels, scratch_bytes_per_pixel(job), work.size())
            begin(work, job.manifest, resume=existing.resume, kept=kept_outputs(job), reporter=reporter)
            result = _run(job, work, paths, Workers(model, spec, scheduler), reporter)
            work.remove()
            return result


def _run(job: Job, work: WorkFolder, paths: OutputPaths, workers: Workers, reporter: Reporter) -> PredictResult:
    clock = _Clock()
    with write_errors(paths.landcover.parent), _Drafts(paths) as drafts:
        run_scene(job, work, workers, reporter)
        give_back_memory()
        clock.lap("predict")
        assembled = assemble(job, work)
        if job.spec.vector.generalizes:
            _generalize(job, assembled)
            clock.lap("generalize")
        classes = class_shares(assembled.counts, job.scene.info, job.model.spec.classes)
        _write_rasters(assembled, paths, drafts, reporter)
        _describe_raster(job, paths, drafts, classes)
        clock.lap("write")
        with drafts.publishing():
            if paths.preview:
                _write_preview(job, assembled, classes, drafts, paths, reporter)
            clock.lap("preview")
            polygons = _write_polygons(job, assembled, paths, drafts, reporter) if paths.polygons else None
            clock.lap("polygons")
            if paths.item:
                _write_item(job, paths, drafts[paths.item])
    return _result(job, paths, classes, polygons, assembled.forwarded_px, clock.seconds())


def _result(
    job: Job,
    paths: OutputPaths,
    classes: tuple[ClassShare, ...],
    polygons: int | None,
    forwarded_px: int,
    seconds: dict[str, float],
) -> PredictResult:
    return PredictResult(
        scene=job.scene.info.public_path,
        model=job.model.spec.name,
        paths={kind: path for kind, path in vars(paths).items() if path is not None},
        classes=classes,
        polygons=polygons,
        scene_px=job.scene.info.pixels,
        valid_px=sum(c.pixels for c in classes),
        forwarded_px=forwarded_px,
        device=str(job.runner.device),
        precision=job.runner.precision,
        seconds=seconds,
        settings=job.settings,
        notices=tuple(job.notices),
    )


def _done_before(job: Job, paths: OutputPaths) -> PredictResult:
    """What an earlier run made, by the table beside its raster; no pixel is read."""
    known = read_counts(paths.landcover) or {}
    total = max(1, sum(pixels for pixels, _ in known.values()))
    classes = tuple(
        ClassShare(c.id, c.name, pixels, pixels / total, area)
        for c in job.model.spec.classes
        for pixels, area in [known.get(c.id, (0, None))]
    )
    polygons = None if paths.polygons is None else _count_polygons(paths.polygons)
    return _result(job, paths, classes, polygons, 0, {"total": 0.0})


def _count_polygons(path: Path) -> int | None:
    from geoseg.vector.formats.ogr import count_polygons  # who wants no polygons does without these libraries

    return count_polygons(path, path.stem)


class _Drafts:
    """The results while they are unfinished: each beside its final place, all of them gone if anything fails."""

    def __init__(self, paths: OutputPaths):
        self._paths = paths
        self._stack = ExitStack()
        self._folders: dict[Path, Path] = {}
        stems = dict.fromkeys(path.stem for path in paths)
        self._stems = {stem: f"draft{number}" for number, stem in enumerate(stems)}

    def __enter__(self) -> Self:
        landcover = self._paths.landcover
        place = hashlib.sha256(os.fsencode(landcover.absolute())).hexdigest()[:8]
        with ExitStack() as stack:
            for path in self._paths:
                if path.parent not in self._folders:
                    name = landcover.stem if path.parent == landcover.parent else f"{landcover.stem}.{place}"
                    self._folders[path.parent] = stack.enter_context(workspace(path.with_name(name)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, path: Path) -> Path:
        """Where a result is written; its name is plain, for libraries misread some that files may have."""
        return self._folders[path.parent] / f"{self._stems[path.stem]}{path.suffix}"

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish what is finished at the end, also if the rest fails; an older file of the rest goes, it is stale.

        Raises:
            OutputError: if nothing failed, and yet something is not there.
        """
        is_complete = False
        try:
            yield
            is_complete = True
        finally:
            missing = [path for path in self._paths if not self[path].exists()]
            # the class raster last: who finds it finds all that belongs to it
            for path in sorted(self._paths, key=lambda path: path == self._paths.landcover):
                if path not in missing:
                    publish(self[path], path)
                else:
                    path.unlink(missing_ok=True)
            for folder in self._folders:
                sync_names(folder)
        if is_complete and missing:
            raise OutputError(f"cannot write {missing[0]}: its draft was removed meanwhile: --resume makes it again")


def _generalize(job: Job, assembled: Assembled) -> None:
    """Vote specks away, fill holes and merge small regions in the class raster, so that it stays what polygons show."""
    from geoseg.vector.polygonize import generalized, within

    info = job.scene.info
    grid = PixelGrid(info.height, info.width, info.transform, info.crs)
    with open_classes(assembled.rasters["landcover"]) as raster:
        strips = generalized(partial(read_strips, raster, None), grid, NODATA_ID, job.spec.vector)
        area = job.scene.area
        found = strips() if area is None else within(strips, area, NODATA_ID)
        replace_classes(assembled, info, job.model.spec.classes, found)


def _write_rasters(assembled: Assembled, paths: OutputPaths, drafts: _Drafts, reporter: Reporter) -> None:
    wanted = {kind: path for kind in assembled.rasters if (path := getattr(paths, kind)) is not None}
    stage = Stage(reporter, "writing", len(wanted))
    stage.advance()
    for kind, path in wanted.items():
        write_cog(assembled.rasters[kind], assembled.formats[kind], drafts[path])
        stage.advance(1)


def _describe_raster(job: Job, paths: OutputPaths, drafts: _Drafts, classes: tuple[ClassShare, ...]) -> None:
    """Give the class raster its attribute table, statistics and styles."""
    draft, legend = drafts[paths.landcover], job.model.spec.classes
    valid = sum(c.pixels for c in classes)
    pixels = {c.id: c.pixels for c in classes} | {NODATA_ID: job.scene.info.pixels - valid}
    areas = [c.area_m2 for c in classes if c.area_m2 is not None]
    write_aux(draft, legend, pixels, sum(areas) / valid if areas and valid else None)
    write_style_files(draft, shared_qml(legend), raster_sld(legend, layer_name(paths.landcover.stem)))


def _write_item(job: Job, paths: OutputPaths, draft: Path) -> None:
    """Write the STAC Item of what is finished."""
    info = job.scene.info
    grid = PixelGrid(info.height, info.width, info.transform, info.crs)
    files = {kind: path for kind, path in vars(paths).items() if path is not None}
    prediction = Prediction(info.name, info.path, grid, job.scene.taken(), job.model.spec, files)
    with write_errors(draft.parent.parent):
        draft.write_text(json.dumps(landcover_item(prediction), indent=2, ensure_ascii=False), "utf-8")


def _write_polygons(job: Job, assembled: Assembled, paths: OutputPaths, drafts: _Drafts, reporter: Reporter) -> int:
    from geoseg.vector.polygonize import polygonize
    from geoseg.vector.write import write_polygons

    assert paths.polygons is not None
    classes = job.model.spec.classes
    try:
        layer = polygonize(
            assembled.rasters["landcover"],
            assembled.rasters["confidence"],
            Legend.of(classes),
            job.spec.vector.of_generalized_raster,
            reporter=reporter,
        )
        name = layer_name(paths.polygons.stem)
        write_polygons(layer, drafts[paths.polygons], name=name)
        add_layer_style(drafts[paths.polygons], name, vector_qml(classes), vector_sld(classes, name))
    except GeosegError as error:
        reason = str(error).replace(str(drafts[paths.polygons]), str(paths.polygons))
        raise OutputError(f"{reason}; the class raster is complete: {paths.landcover}") from None
    return len(layer)


def _write_preview(
    job: Job,
    assembled: Assembled,
    classes: tuple[ClassShare, ...],
    drafts: _Drafts,
    paths: OutputPaths,
    reporter: Reporter,
) -> None:
    from geoseg.outputs.preview import draw_preview

    assert paths.preview is not None
    reporter.progress(Progress("preview", 0, 1))
    image, valid = assembled.thumbnail.take()
    height, width = valid.shape
    with open_raster(drafts[paths.landcover]) as raster:
        ids = raster.read(1, out_shape=(height, width))
    size = job.scene.info.pixel_size_m
    picture = draw_preview(
        stretch(image, valid),
        ids,
        job.model.spec.classes,
        shares={c.id: c.share for c in classes},
        title=job.scene.info.name,
        pixel_size_m=size[0] * job.scene.width / width if size else None,
    )
    draft = drafts[paths.preview]
    with write_errors(paths.preview.parent):
        picture.save(draft)
    reporter.progress(Progress("preview", 1, 1))


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
