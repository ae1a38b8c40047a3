"""Scenes classified to find places to label: once, or in several passes that show them in different ways.

In: a scene, a model, a SuggestSpec. Out: rasters in work folders, which are kept until the places are written, and what
is in the windows of the scene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.commands.output_paths import check_space
from geoseg.commands.plan import scratch_bytes_per_pixel
from geoseg.core.errors import SceneError
from geoseg.core.events import NoticeLog, Reporter, Stage
from geoseg.core.naming import fit_for_files
from geoseg.data.labelled_areas import LabelledAreas, open_labelled_areas
from geoseg.geo.grid import Window
from geoseg.inference.assemble import assemble
from geoseg.inference.cores import kept_outputs
from geoseg.inference.job import Job, prepare
from geoseg.inference.places.windows import ClassifiedPixels, WindowStatistics, count_windows
from geoseg.inference.resume import begin
from geoseg.inference.shards import Workers, run_scene
from geoseg.inference.uncertainties import UNCERTAINTIES
from geoseg.inference.uncertainties.uncertainty import Pass, Uncertainty
from geoseg.inference.uncertainties.written import TEN_THOUSANDTHS, WrittenUncertainty
from geoseg.inference.work_folder import WorkFolder, kept_if_begun
from geoseg.models.model import Model
from geoseg.models.tta import find_augmentations
from geoseg.raster.class_raster import open_classes, open_raster
from geoseg.raster.reading import to_rasterio
from geoseg.raster.scene import Scene
from geoseg.raster.scene_info import SceneInfo
from geoseg.scenes import SceneRef, open_scene
from geoseg.spec import ExistingSpec, OutputSpec, PredictSpec
from geoseg.spec.suggest import SuggestSpec


@dataclass(frozen=True)
class ScanRequest:
    """How scenes are searched for places."""

    model: Model
    """The model."""
    spec: SuggestSpec
    """Settings."""
    existing: ExistingSpec
    """What becomes of unfinished work."""
    exclude: tuple[Path, ...]
    """Files that say what is labelled already."""
    output: Path
    """The file of places, beside which the work folders lie."""

    @property
    def uncertainty(self) -> Uncertainty:
        """The measure of uncertainty."""
        return UNCERTAINTIES.get(self.spec.places.by)

    @property
    def written(self) -> WrittenUncertainty | None:
        """The uncertainty that each pass writes; None if its classes are what counts."""
        found = self.uncertainty.of_probabilities
        return None if found is None else WrittenUncertainty(self.spec.places.by, found, TEN_THOUSANDTHS)

    @property
    def predicting(self) -> PredictSpec:
        """The settings of each pass."""
        nothing = OutputSpec(polygons=False, preview=False, stac=False)
        return PredictSpec(classify=self.spec.classify, run=self.spec.run, output=nothing)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The passes over each scene."""
        classify = self.spec.classify
        return self.uncertainty.passes(find_augmentations(classify.tta, classify.tta_scales))


@dataclass(frozen=True)
class ScannedScene:
    """A classified scene."""

    path: str
    """Its path as it was given."""
    info: SceneInfo
    """Its description; of an area of interest, that of the part."""
    landcover: Path
    """Its class raster, in a work folder."""
    statistics: WindowStatistics
    """What is in its windows."""
    settings: dict[str, Any]
    """The settings as resolved."""
    notices: tuple[str, ...]
    """Sentences for the user."""
    works: tuple[WorkFolder, ...]
    """The work folders, to be removed once the places are written."""


def scan(ref: SceneRef, request: ScanRequest, stack: ExitStack, reporter: Reporter) -> ScannedScene:
    """Classify a scene, and count what is in its windows; its work folders are kept until a stack is closed.

    Raises:
        GeosegError: as `predict` does, if the scene has no coordinate system, or a labelled area cannot be read.
    """
    if ref.problem is not None:
        raise SceneError(ref.problem)
    classify = request.spec.classify
    with open_scene(ref) as whole:
        scene = whole.within(classify.aoi, classify.bbox)
        if scene.info.crs is None:
            raise SceneError(
                f"{scene.info.public_path} has no coordinate system, so that places in it could not be drawn on a map: "
                "give it one (gdal_edit -a_srs EPSG:...)"
            )
        # opened before the network runs, so that an unreadable file costs no time
        with open_labelled_areas(request.exclude, scene.grid, Path(scene.info.path)) as labelled:
            found = [
                _run_pass(scene, ref, request, number, stack, reporter if number == 0 else _Progress(reporter))
                for number in range(len(request.passes))
            ]
            statistics = _statistics(found, labelled, request, reporter)
        first = found[0].job
    return ScannedScene(
        path=ref.path,
        info=first.scene.info,
        landcover=found[0].landcover,
        statistics=statistics,
        settings=first.settings,
        notices=first.notices,
        works=tuple(one.work for one in found),
    )


class OfScene(NoticeLog):
    """Passes progress on, and notices with the name of the scene that they are about."""

    def __init__(self, to: Reporter, name: str):
        super().__init__(to)
        self._name = name

    def notice(self, line: str) -> None:
        """Keep a line and pass it on, with the name."""
        super().notice(f"{self._name}: {line}")


class _Progress(Reporter):
    """Passes progress on, and drops notices, which the first pass gave already."""

    def __init__(self, to: Reporter):
        self.progress = to.progress  # type: ignore[method-assign]


@dataclass(frozen=True)
class _Found:
    """The rasters of a pass."""

    job: Job
    """Scene, model and settings."""
    work: WorkFolder
    """The work folder."""
    landcover: Path
    """Class raster."""
    uncertainty: Path | None
    """Raster of uncertainty, if the measure needs one."""


def _run_pass(
    scene: Scene, ref: SceneRef, request: ScanRequest, number: int, stack: ExitStack, reporter: Reporter
) -> _Found:
    """Classify a scene in one pass; what an earlier run has finished of the same is kept if it is to be resumed."""
    output, existing, spec = request.output, request.existing, request.predicting
    name = fit_for_files(f"{output.stem}.{ref.name}.{number + 1}")
    work = stack.enter_context(kept_if_begun(output.with_name(f"{name}.tif")))
    begun = work.read_manifest() if existing.resume else None
    augmentations = request.passes[number]
    job = prepare(scene, request.model, spec, reporter, begun, augmentations)
    job = replace(job, uncertainty=request.written)
    check_space(output.parent, scene.held_pixels, scratch_bytes_per_pixel(job), work.size())
    shown = f"{job.fingerprint}-{request.spec.places.by}-{number + 1}"  # the same pixels are shown in other ways
    manifest = replace(job.manifest, fingerprint=shown)
    begin(work, manifest, resume=existing.resume, kept=kept_outputs(job), reporter=reporter)
    run_scene(job, work, Workers(request.model, spec), reporter)
    rasters = assemble(job, work).rasters
    return _Found(job, work, rasters["landcover"], rasters.get("uncertainty"))


def _statistics(
    found: Sequence[_Found], labelled: LabelledAreas, request: ScanRequest, reporter: Reporter
) -> WindowStatistics:
    """Count what is in the windows of a scene."""
    info, classes = found[0].job.scene.info, request.model.spec.classes
    stage = Stage(reporter, "windows", info.pixels)
    with _opened(found) as (landcovers, uncertainties):
        read = partial(_read, landcovers, uncertainties, labelled, request.uncertainty)
        ids = np.array([c.id for c in classes], np.uint8)
        return count_windows((info.height, info.width), request.spec.places.side, ids, read, stage.advance)


@contextmanager
def _opened(found: Sequence[_Found]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The open rasters of all passes: class rasters, and those of uncertainty."""
    with ExitStack() as stack:
        landcovers = [stack.enter_context(open_classes(one.landcover)) for one in found]
        paths = [one.uncertainty for one in found if one.uncertainty is not None]
        yield landcovers, [stack.enter_context(open_raster(path)) for path in paths]


def _read(
    landcovers: Sequence[Any],
    uncertainties: Sequence[Any],
    labelled: LabelledAreas,
    uncertainty: Uncertainty,
    window: Window,
) -> ClassifiedPixels:
    where, size = to_rasterio(window), (window.height, window.width)
    classes = np.stack([raster.read(1, window=where) for raster in landcovers])
    values: NDArray[np.floating] = np.empty((len(uncertainties), *size), np.float32)
    for value, raster in zip(values, uncertainties, strict=True):
        value[:] = raster.read(1, window=where)
    values /= TEN_THOUSANDTHS.one
    return ClassifiedPixels(classes[0], uncertainty.of_passes(classes, values), labelled.mask(window))
