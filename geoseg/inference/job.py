"""One scene, one model and their settings, checked to match before any pixel is forwarded.

In: an open scene, a model, a PredictSpec. Out: a Job with the source, the grid and the runner. Writes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

from torch import nn

from geoseg.core.events import NoticeLog, Reporter
from geoseg.core.redaction import public_form
from geoseg.geo.grid import Grid
from geoseg.inference.adapted import adaptation_notice, share_of
from geoseg.inference.brightness import fitting_brightness
from geoseg.inference.crf import Crf
from geoseg.inference.decide import Wanted
from geoseg.inference.engine import device_for, onnx_engine, with_engine
from geoseg.inference.fingerprint import fingerprint
from geoseg.inference.fit import fitting_resolution, misfit_lines, resolution_misfit, values_misfit
from geoseg.inference.matched import measured, open_reference, values_type
from geoseg.inference.notices import default_notice, fill_notice, scene_notices
from geoseg.inference.source import at_resolution, select_bands
from geoseg.inference.sparing_grids import slowing
from geoseg.inference.uncertainties.written import WrittenUncertainty, written_uncertainty
from geoseg.inference.views import VIEWS
from geoseg.inference.views.view import View, ViewInputs
from geoseg.inference.windows import Target, bounded, branch_of, make_grid, wanted_grids
from geoseg.inference.work_folder import Manifest
from geoseg.models.bundle import load_model
from geoseg.models.families.licences import licence_notice
from geoseg.models.model import Model
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.tta import Augmentation, find_augmentations
from geoseg.raster.curves import Curves
from geoseg.raster.legend import Legend
from geoseg.raster.resample import Source
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.scene_info import plain_number
from geoseg.spec import ClassifySpec, ModelSpec, PredictSpec
from geoseg.spec.crf import CrfSpec
from geoseg.vector.settings import check_settings


@dataclass(frozen=True, eq=False)
class Job:
    """One scene, its model, settings and grid, checked to match."""

    scene: Scene
    """The scene, or the part of it in an area of interest."""
    bands: SceneBands
    """Its bands in the model's order."""
    source: Source
    """The raster from which windows are read: these bands, perhaps at another resolution."""
    model: Model
    """The model."""
    spec: PredictSpec
    """The settings as they were given."""
    resolved: ClassifySpec
    """The settings that decide pixels, with defaults resolved."""
    grid: Grid
    """The grid of windows."""
    runner: Runner
    """The network on its device."""
    batch_size: int
    """Windows forwarded at once."""
    fingerprint: str
    """Digest of everything that decides pixels."""
    view: View
    """The view: what the network sees besides its windows."""
    log: NoticeLog
    """Notices for the user."""
    uncertainty: WrittenUncertainty | None = None
    """What gives the uncertainty of each pixel, which is kept then; None if it is not wanted."""
    learnt: Runner | None = None
    """The network as its model holds it, where `runner` has adapted weights; None where that is the same."""
    engine_share: float | None = None
    """Time of ONNX Runtime over that of PyTorch, where it was measured on this machine."""

    @property
    def settings(self) -> dict[str, Any]:
        """The resolved settings without those of outputs, as plain values."""
        resolved = self.resolved.model_dump(mode="json", warnings=False)
        running = {"batch_size": self.batch_size, "device": str(self.runner.device)}
        return self.spec.vector.model_dump(mode="json") | resolved | running

    def with_network(self, network: nn.Module) -> Job:
        """The job with other weights of its network, e.g. adapted ones; `model` stays the one that was given."""
        return replace(self.with_runner(self.runner.with_network(network)), learnt=self.learnt or self.runner)

    def with_runner(self, runner: Runner) -> Job:
        """The job with another runner of its network."""
        inputs = ViewInputs(self.bands, self.source, self.grid, self.model.spec, runner, self.resolved, self.batch_size)
        view = VIEWS.get(branch_of(self.model.spec, self.resolved).kind)(inputs)
        return replace(self, runner=runner, view=view)

    def with_engine(self, engine: Literal["torch", "onnx"]) -> Job:
        """The job as another engine does it; its runner stays as it is."""
        resolved = self.resolved.model_copy(update={"engine": engine})
        place = self.source, self.runner.device.type
        digest = _digest(self.scene, self.model, self.bands, (self.spec.classify, resolved), *place)
        return replace(self, resolved=resolved, fingerprint=digest)

    @property
    def manifest(self) -> Manifest:
        """The manifest of this job's work folder."""
        return Manifest(
            self.fingerprint,
            self.grid.tile,
            self.batch_size,
            self.grid.overlap,
            engine=self.resolved.engine,
            engine_share=self.engine_share,
        )

    @property
    def crf(self) -> Crf | None:
        """The CRF that decides after the windows are blended, if there is one."""
        return Crf.of(self.spec.classify, self.model.spec)

    @property
    def wanted_of_windows(self) -> Wanted:
        """What is computed of each pixel when its windows are blended: all that is wanted, or what a CRF needs."""
        return self.wanted if self.crf is None else Wanted(logits=True)

    @property
    def wanted(self) -> Wanted:
        """What is computed of each pixel besides its class."""
        output = self.spec.output
        scores = output.scores_type if output.scores else None
        return Wanted(True, scores, self.model.spec.temperature, uncertainty=self.uncertainty)

    @property
    def keeps_confidence(self) -> bool:
        """Whether the confidence of each pixel is kept, for its raster, polygons or instances; or only its mean."""
        output = self.spec.output
        return output.polygons or output.confidence is not None or self.spec.vector.split_instances == "confidence"

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences for the user on the scene, the model and the settings, which belong to the results."""
        return tuple(self.log.lines)


def prepare(
    scene: Scene,
    model: Model | str | os.PathLike[str] | None,
    spec: PredictSpec,
    reporter: Reporter,
    begun: Manifest | None = None,
    augmentations: Sequence[Augmentation] = (),
    change: Curves | None = None,
) -> Job:
    """Check that a scene, a model and settings match; a resumed job keeps what was fitted when it was begun.

    The network sees each window as `augmentations` say, or, if there are none, as the settings do. `change` is what
    becomes of the scene's values if they are to be matched, where that was found already.

    Raises:
        GeosegError: if they don't fit: which, and the way out. `spec.run.force` lets a scene pass that the model does
            not know; a notice says so then.
    """
    uncertainty = written_uncertainty(spec.output)
    loaded = model if isinstance(model, Model) else load_model(model)
    log = NoticeLog(reporter)
    own, wanted = scene.info.resolution_m, spec.classify.resolution
    settings = spec.classify.model_copy(update={"resolution": fitting_resolution(own, loaded.spec, wanted)})
    settings = with_engine(settings, loaded, spec.run.device, begun.engine if begun else "")
    # before --rescale is suggested for values of another type: no rescaling would help
    lines = misfit_lines([resolution_misfit(own, loaded.spec, wanted)], is_forced=spec.run.force)
    bands, choice = select_bands(scene, loaded.spec, settings)
    check_settings(spec.vector, scene.grid, Legend.of(loaded.spec.classes), scene.info.path)
    if loaded.is_unchosen:
        log.notice(default_notice(loaded.spec))
    if (line := licence_notice(loaded.spec)) is not None:
        log.notice(line)
    for line in scene_notices(scene.info, choice, loaded.spec, settings):
        log.notice(line)
    bands = _without_fill(bands, settings, log)
    is_reported = True
    if settings.match is None:
        bands, settings, is_reported = _in_fitting_brightness(bands, loaded.spec, settings, log)
    else:
        bands, settings = _matched(bands, loaded.spec, settings, change, log)
    misfit = values_misfit(bands, loaded.spec)
    if misfit is not None and (misfit.is_far or not is_reported):
        lines += misfit_lines([misfit], is_forced=spec.run.force)
    for line in lines:
        log.notice(line)
    if settings.adapt is not None:
        log.notice(adaptation_notice(loaded, settings))
    source = at_resolution(bands, loaded.spec, settings)
    ratio = max(scene.height / source.height, scene.width / source.width)
    target = Target.choose(device_for(settings, spec.run.device), settings, loaded)
    grid = _lay_grid(source, ratio, loaded, settings, target, begun, log)
    batch_size = spec.run.batch_size or (begun.batch_size if begun else target.fitting_batch(grid, loaded))
    seen = augmentations or find_augmentations(settings.tta, settings.tta_scales)
    runner = _load_runner(loaded, settings, seen, target, grid, log)
    resolved = _resolved(settings, grid, runner, bands)
    digest = _digest(scene, loaded, bands, (settings, resolved), source, target.device.type)
    inputs = ViewInputs(bands, source, grid, loaded.spec, runner, settings, batch_size)
    view = VIEWS.get(branch_of(loaded.spec, settings).kind)(inputs)
    job = Job(scene, bands, source, loaded, spec, resolved, grid, runner, batch_size, digest, view, log, uncertainty)
    return job if begun is None else replace(job, engine_share=begun.engine_share)


def _without_fill(bands: SceneBands, spec: ClassifySpec, log: NoticeLog) -> SceneBands:
    """The bands, where untagged fill counts as nodata if the settings say so; with a notice of any fill."""
    fill = bands.find_fill()
    if (line := fill_notice(fill, spec)) is not None:
        log.notice(line)
    return bands.without(fill) if spec.nodata == "auto" and fill is not None else bands


def _in_fitting_brightness(
    bands: SceneBands, model: ModelSpec, spec: ClassifySpec, log: NoticeLog
) -> tuple[SceneBands, ClassifySpec, bool]:
    """The bands and the settings with what `--rescale auto` stands for, and whether a notice says something of it."""
    if spec.rescale != "auto":
        return bands, spec, False
    found = fitting_brightness(bands, model, bands.change)
    if found is not None:
        log.notice(found.line)
    if found is None or not found.is_enough:
        return bands, spec.model_copy(update={"rescale": None}), found is not None
    return replace(bands, change=found.change), spec.model_copy(update={"rescale": found.rescale}), True


def _matched(
    bands: SceneBands, model: ModelSpec, spec: ClassifySpec, change: Curves | None, log: NoticeLog
) -> tuple[SceneBands, ClassifySpec]:
    """The bands with their values brought to those of the reference, and the settings, with notices."""
    settings = spec.model_copy(update={"rescale": None})
    if change is not None:
        return replace(bands, change=change), settings
    reference = open_reference(model, spec, bands)
    found = reference.matched(measured(bands), values_type(bands))
    for line in (found.line, *reference.lines):
        log.notice(line)
    return replace(bands, change=found.change), settings


def curves_of(bands: SceneBands) -> Curves | None:
    """What becomes of the values of a scene, if they are matched."""
    return bands.change if isinstance(bands.change, Curves) else None


def _lay_grid(
    source: Source,
    ratio: float,
    model: Model,
    spec: ClassifySpec,
    target: Target,
    begun: Manifest | None,
    log: NoticeLog,
) -> Grid:
    """The grid of the windows that the device's memory holds; of a resumed job the grid that it had.

    `ratio` is the side of the source's pixels in pixels of the scene, if these are smaller.
    """
    size = source.height, source.width
    if begun is not None and spec.tile is None:
        overlap = begun.overlap if spec.overlap is None else spec.overlap
        grid = make_grid(*size, model.spec, spec.model_copy(update={"tile": begun.tile, "overlap": overlap}))
    else:
        grid = target.fitting_grid(size, model, spec, ratio)
    if grid.tile < make_grid(*size, bounded(model.spec, ratio), spec).tile:
        log.notice(f"{target.device} has little free memory: windows of {grid.tile} pixels")
    return grid


def _load_runner(
    model: Model, spec: ClassifySpec, augmentations: Sequence[Augmentation], target: Target, grid: Grid, log: NoticeLog
) -> Runner:
    """The network on its device."""
    return Runner(
        model.module,
        str(target.device),
        target.precision,
        RunnerOptions(
            augmentations=augmentations,
            multiple=model.spec.network.multiple,
            compiled_sizes=set(product(grid.rows.sizes, grid.cols.sizes)) if spec.compile else (),
            bands=len(model.spec.bands),
            ranges=model.ranges,
            floats=model.floats,
            onnx=onnx_engine(model, spec, [grid], augmentations),
        ),
        reporter=log,
    )


def _resolved(spec: ClassifySpec, grid: Grid, runner: Runner, bands: SceneBands) -> ClassifySpec:
    """The settings with defaults resolved."""
    chosen = {
        "tile": grid.tile,
        "overlap": grid.overlap,
        "precision": runner.precision,
        "engine": "torch" if spec.engine == "auto" else spec.engine,
        "bands": bands.bands,
        "adapt_share": None if spec.adapt is None else share_of(spec),
        "match": None if spec.match is None else public_form(spec.match),
        "nodata": spec.nodata if spec.nodata == "auto" else plain_number(spec.nodata),
    }
    return spec.model_copy(update=chosen)


def _digest(
    scene: Scene,
    model: Model,
    bands: SceneBands,
    settings: tuple[ClassifySpec, ClassifySpec],
    source: Source,
    device: str,
) -> str:
    """Digest of what decides pixels, with the settings as given and as resolved, on a kind of device."""
    given, resolved = settings
    values = curves_of(bands)
    deciding = _deciding(resolved, given, source, model.spec, slowing(device))
    return fingerprint(scene, model, deciding, device, "" if values is None else values.digest)


def _deciding(
    resolved: ClassifySpec, spec: ClassifySpec, source: Source, model: ModelSpec, slower: float
) -> ClassifySpec:
    """The settings in normal form: equal wherever they give equal pixels with this model.

    The window size counts as requested; the size fitted to the memory stands in the work folder's manifest.
    """
    grid = wanted_grids((source.height, source.width), model, spec, slower=slower)[0]
    branch = branch_of(model, spec)
    meant = {
        "tile": grid.tile,
        "overlap": grid.overlap,
        "context": bool(branch.levels),
        "refine_fraction": spec.refine_fraction if branch.skips else 1.0,
    }
    if not spec.changes_pixels:
        meant |= {name: field.default for name, field in CrfSpec.model_fields.items()}
    return resolved.model_copy(update=meant)
