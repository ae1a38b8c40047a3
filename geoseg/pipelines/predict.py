"""From a scene to a land-cover raster, polygons and a preview, end to end.

In: a scene, a model, a PredictSpec. Out: files, and a result that says what they hold. Prints nothing: progress goes to
a callable (stage, done, total) and notices to another.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import rasterio
from torch import Tensor

from geoseg.batches import Batch, Sample, make_batches, read_ahead
from geoseg.blend import Blender
from geoseg.errors import GeosegError, OutputError
from geoseg.files import publish, quiet_georeferencing, workspace, write_errors
from geoseg.formats import write_polygons
from geoseg.georef import PixelGrid
from geoseg.models import Model
from geoseg.pipelines.blocks import BlockWriter, ClassShare
from geoseg.pipelines.class_raster import open_classes, read_strips
from geoseg.pipelines.gdal import gdal_settings
from geoseg.pipelines.job import Job, Notice, prepare
from geoseg.pipelines.outputs import OutputPaths, check_outputs, check_space, name_outputs
from geoseg.pipelines.plan import scratch_bytes_per_pixel
from geoseg.pipelines.vectorize import generalized, polygonize, within
from geoseg.polygons import Legend
from geoseg.preview import draw_preview
from geoseg.raster import write_cog
from geoseg.rat import write_aux
from geoseg.scene import Scene
from geoseg.spec import NODATA_ID, PredictSpec, parse_spec
from geoseg.stac import Prediction, landcover_item
from geoseg.styles import add_layer_style, raster_sld, shared_qml, vector_qml, vector_sld, write_style_files
from geoseg.thumbnail import stretch

Progress = Callable[[str, int, int], None]
"""Called with a stage ('predicting', 'writing', 'polygons', 'preview'), what is done of it, and how much there is."""


@dataclass(frozen=True)
class PredictResult:
    """What a prediction made."""

    scene: str
    """The scene as it was given."""
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
    scene: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    model: Model | str | os.PathLike[str] | None = None,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    notice: Notice | None = None,
    **settings: Any,
) -> PredictResult:
    """Classify a scene and write its class raster, polygons and preview.

    Args:
        scene: anything GDAL opens.
        output: a folder (default: the current one), or the path of the class raster, ending in .tif.
        model: a bundle's path or a loaded model, which is moved to the device and stays there; None means the
            default model.
        name: what the results are called after; default: the scene's file.
        overwrite: replace results that exist; without it they are refused before any work is done.
        progress: called with (stage, done, total).
        notice: called with each line worth reading, as it comes up.
        settings: fields of PredictSpec.

    Raises:
        GeosegError: one line: what is wrong, what to do. Nothing half-written stays behind.
    """
    spec = parse_spec(PredictSpec, settings, source="settings")
    with gdal_settings(), Scene.open(scene, name=name) as opened:
        opened.limit(spec.aoi, spec.bbox)
        job = prepare(opened, model, spec, notice or _ignore)
        paths = name_outputs(opened.info.name, output, spec)
        check_outputs(paths, opened.info.path, overwrite=overwrite)
        check_space(paths.landcover.parent, opened.info.path, opened.info.pixels, scratch_bytes_per_pixel(job))
        return _run(job, paths, progress or _ignore)


def _run(job: Job, paths: OutputPaths, progress: Progress) -> PredictResult:
    clock = _Clock()
    with _Drafts(paths) as drafts:
        blocks = BlockWriter(job, drafts.folder)
        try:
            forwarded = _predict_blocks(job, blocks, drafts.folder, progress)
        finally:
            blocks.close()
        clock.lap("predict")
        if job.spec.generalizes:
            _generalize(job, blocks)
            clock.lap("generalize")
        classes = blocks.shares()
        _write_rasters(blocks, paths, drafts, progress)
        _describe_raster(job, paths, drafts, classes)
        clock.lap("write")
        with drafts.publishing():
            if paths.preview:
                _write_preview(job, blocks, classes, drafts[paths.preview], progress)
            clock.lap("preview")
            polygons = _write_polygons(job, blocks, paths, drafts, progress) if paths.polygons else None
            clock.lap("polygons")
            if paths.item:
                _write_item(job, paths, drafts[paths.item])
    return PredictResult(
        scene=job.scene.info.path,
        model=job.model.spec.name,
        paths={kind: path for kind, path in vars(paths).items() if path is not None},
        classes=classes,
        polygons=polygons,
        scene_px=job.scene.info.pixels,
        valid_px=sum(c.pixels for c in classes),
        forwarded_px=forwarded,
        device=str(job.runner.device),
        precision=job.runner.precision,
        seconds=clock.seconds(),
        settings=job.settings,
        notices=tuple(job.notices),
    )


class _Drafts:
    """The results while they are unfinished: each beside its final place, all of them gone if anything fails."""

    def __init__(self, paths: OutputPaths):
        self._paths = paths
        self._stack = ExitStack()
        self._folders: dict[Path, Path] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for path in self._paths:
                if path.parent not in self._folders:
                    self._folders[path.parent] = stack.enter_context(workspace(path.parent))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __getitem__(self, path: Path) -> Path:
        return self._folders[path.parent] / path.name

    @property
    def folder(self) -> Path:
        """Folder for scratch files."""
        return self._folders[self._paths.landcover.parent]

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Publish what is finished at the end, also if the rest fails; an older file of the rest goes, it is stale."""
        try:
            yield
        finally:
            for path in self._paths:
                if self[path].exists():
                    publish(self[path], path)
                else:
                    path.unlink(missing_ok=True)


def _predict_blocks(job: Job, blocks: BlockWriter, folder: Path, progress: Progress) -> int:
    """Forward every window with data; return the number of pixels forwarded."""
    blender = Blender(job.grid, folder)
    total, done, forwarded = job.source.height * job.source.width, 0, 0
    progress("predicting", 0, total)
    windows = make_batches(job.source, job.grid, job.model.spec.normalization.mean, job.batch_size)
    with write_errors(folder.parent), closing(read_ahead(windows)) as batches:
        for batch in batches:
            if batch.samples:
                _finish_batch(batch, job.runner(batch.image), blender, blocks)
            forwarded += sum(sample.part.pixels for sample in batch.samples)
            done += batch.visited_px
            progress("predicting", done, total)
    return forwarded


def _finish_batch(batch: Batch, probabilities: Tensor, blender: Blender, blocks: BlockWriter) -> None:
    for sample, part in zip(batch.samples, probabilities, strict=True):
        blocks.take(sample, blender.feed(sample.place, _whole_window(sample, part)))


def _whole_window(sample: Sample, part: Tensor) -> Tensor:
    """Put the probabilities (K, h, w) of the forwarded part where they belong in the window (K, T, T)."""
    if part.shape[1:] == sample.valid.shape:
        return part
    whole = part.new_zeros(part.shape[0], *sample.valid.shape)
    whole[:, *sample.part.slices] = part
    return whole


def _generalize(job: Job, blocks: BlockWriter) -> None:
    """Vote specks away, fill holes and merge small regions in the class raster, so that it stays what polygons show."""
    info = job.scene.info
    grid = PixelGrid(info.height, info.width, info.transform, info.crs)
    with open_classes(blocks.landcover.path) as raster:
        strips = generalized(partial(read_strips, raster, None), grid, NODATA_ID, job.spec)
        area = job.scene.area
        blocks.replace_classes(strips() if area is None else within(strips, area, NODATA_ID))


def _write_rasters(blocks: BlockWriter, paths: OutputPaths, drafts: _Drafts, progress: Progress) -> None:
    wanted = (blocks.landcover, paths.landcover), (blocks.confidence, paths.confidence), (blocks.scores, paths.scores)
    pairs = [(scratch, path) for scratch, path in wanted if scratch and path]
    for done, (scratch, path) in enumerate(pairs):
        progress("writing", done, len(pairs))
        write_cog(scratch, drafts[path])
    progress("writing", len(pairs), len(pairs))


def _describe_raster(job: Job, paths: OutputPaths, drafts: _Drafts, classes: tuple[ClassShare, ...]) -> None:
    """Give the class raster its attribute table, statistics and styles."""
    draft, legend = drafts[paths.landcover], job.model.spec.classes
    valid = sum(c.pixels for c in classes)
    pixels = {c.id: c.pixels for c in classes} | {NODATA_ID: job.scene.info.pixels - valid}
    areas = [c.area_m2 for c in classes if c.area_m2 is not None]
    write_aux(draft, legend, pixels, sum(areas) / valid if areas and valid else None)
    write_style_files(draft, shared_qml(legend), raster_sld(legend, paths.landcover.stem))


def _write_item(job: Job, paths: OutputPaths, draft: Path) -> None:
    """Write the STAC Item of what is finished."""
    info = job.scene.info
    grid = PixelGrid(info.height, info.width, info.transform, info.crs)
    files = {kind: path for kind, path in vars(paths).items() if path is not None}
    prediction = Prediction(info.name, info.path, grid, job.scene.taken(), job.model.spec, files)
    with write_errors(draft.parent.parent):
        draft.write_text(json.dumps(landcover_item(prediction), indent=2, ensure_ascii=False), "utf-8")


def _write_polygons(job: Job, blocks: BlockWriter, paths: OutputPaths, drafts: _Drafts, progress: Progress) -> int:
    assert paths.polygons is not None
    assert blocks.confidence is not None
    classes = job.model.spec.classes
    try:
        layer = polygonize(
            blocks.landcover.path,
            blocks.confidence.path,
            Legend.of(classes),
            job.spec.for_finished_raster(),
            progress=lambda done, total: progress("polygons", done, total),
        )
        write_polygons(layer, drafts[paths.polygons], name=paths.polygons.stem)
        sld = vector_sld(classes, paths.polygons.stem)
        add_layer_style(drafts[paths.polygons], paths.polygons.stem, vector_qml(classes), sld)
    except GeosegError as error:
        reason = str(error).replace(str(drafts[paths.polygons]), str(paths.polygons))
        raise OutputError(f"{reason}; the class raster is complete: {paths.landcover}") from None
    return len(layer)


def _write_preview(
    job: Job, blocks: BlockWriter, classes: tuple[ClassShare, ...], draft: Path, progress: Progress
) -> None:
    assert blocks.thumbnail is not None
    progress("preview", 0, 1)
    image, valid = blocks.thumbnail.take()
    height, width = valid.shape
    with quiet_georeferencing(), rasterio.open(blocks.landcover.path) as raster:
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
    with write_errors(draft.parent.parent):
        picture.save(draft)
    progress("preview", 1, 1)


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


def _ignore(*_: object) -> None:
    return None
