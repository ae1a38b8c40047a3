"""A model over the labelled rasters of one side of a split, as it classifies a scene.

In: labelled mosaics, a model, the settings that decide pixels. Out: the pixel counts of the model on the labelled grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.core.events import SILENT, Reporter
from geoseg.core.memory import kept_memory
from geoseg.core.wording import number_of
from geoseg.geo.aoi import Area
from geoseg.geo.grid import Grid
from geoseg.inference.adapted import adapt, adaptation_notice
from geoseg.inference.crf import Crf
from geoseg.inference.engine import device_for, onnx_engine, with_engine
from geoseg.inference.fit import fitting_resolution
from geoseg.inference.scene_ranges import UNMEASURED, needs_ranges, scene_ranges
from geoseg.inference.windows import Target
from geoseg.metrics.unit_counts import UnitCounter, UnitCounts
from geoseg.models.model import Model
from geoseg.models.runner import Runner, RunnerOptions, choose_device
from geoseg.models.tta import find_augmentations
from geoseg.spec import ClassifySpec, ModelSpec, Resolution
from geoseg.training.scoring.count_units import (
    CountedWindow,
    Counters,
    LogitCounter,
    LogitMap,
    blended,
    count_units,
)
from geoseg.training.scoring.crf_windows import after_crf
from geoseg.training.scoring.fitting_brightness import in_fitting_brightness
from geoseg.training.scoring.matched_values import with_matched_values
from geoseg.training.scoring.model_rasters import (
    ModelBands,
    ModelRaster,
    areas_of,
    bands_at_resolution,
    cells_of,
    resolution_of,
    widened,
)
from geoseg.training.scoring.score_windows import load_scored
from geoseg.training.scoring.scored_batch import ScoredBatch
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.scoring.units import Units
from geoseg.training.windows.random_windows import LabelledCells


@dataclass(frozen=True)
class LabelledSide:
    """One side of a split with the bands of a model."""

    bands: Sequence[ModelBands]
    """The bands of each mosaic."""
    cells: LabelledCells
    """The cells of the mosaics that hold labels."""
    resolution_m: float | None
    """Ground resolution of the mosaics, if the config says it."""
    batch_px: int
    """Pixels that are forwarded at once."""


@dataclass(frozen=True)
class ScoredModel:
    """A model, ready to be scored."""

    spec: ModelSpec
    """Its spec, without a branch that is left out."""
    runner: Runner
    """The network on its device."""
    rasters: Sequence[ModelRaster]
    """The mosaics as it sees them."""
    windows: ScoredWindows
    """The windows over them that hold labels."""
    order: Sequence[int]
    """Of each counted class, its index in the logits."""
    batch_px: int
    """Pixels that are forwarded at once."""
    crf: Crf | None
    """The CRF that decides after the windows are blended, if there is one."""
    folder: Path
    """Folder for scratch files."""
    notices: tuple[str, ...] = ()
    """Sentences for the user on how the mosaics are seen."""
    adaptation: tuple[str, ...] = ()
    """Sentences for the user on how the network was adapted to them."""

    def classify(self, batch: ScoredBatch) -> Tensor:
        """Logits of scored windows (B, K, T, T), of the counted classes in their order."""
        logits = self.windows.view.classify(self.runner, batch)
        return logits if list(self.order) == list(range(len(self.order))) else logits[:, list(self.order)]

    def count(
        self,
        units: Units,
        boundary_px: int | None,
        reporter: Reporter = SILENT,
        logit_counters: Sequence[LogitCounter] = (),
        logit_maps: Sequence[LogitMap] = (),
    ) -> UnitCounts:
        """Count the pixels of the labelled grid by unit.

        Args:
            units: the units.
            boundary_px: width of boundaries; None leaves them out.
            reporter: gets the progress of `scoring` in batches.
            logit_counters: count the logits of the same pixels, blended as in a prediction.
            logit_maps: keep these logits where they lie.
        """
        counters = Counters(UnitCounter(len(self.order), units.count, boundary_px), logit_counters, logit_maps)
        loader = load_scored(self.windows, self.batch_px, in_order=True)
        with torch.inference_mode(), kept_memory():
            found: Iterable[CountedWindow] = blended(self.classify, self.windows, loader, self.rasters, reporter)
            if self.crf is not None:
                found = after_crf(found, self.crf, len(self.order), self.folder)
            count_units(found, units, counters)
        return counters.units.counts()


def lay_model(
    model: Model, side: LabelledSide, settings: ClassifySpec, device: str, folder: Path, order: Sequence[int]
) -> ScoredModel:
    """Lay a model's windows over labelled rasters.

    Args:
        model: the model.
        side: the rasters, with its bands.
        settings: how it classifies; bands, nodata, LOW and HIGH of rescale are those with which the rasters were read.
        device: auto, cpu, cuda, cuda:1 or mps.
        folder: for scratch files.
        order: of each counted class, its index in the logits.

    Raises:
        SpecError: if a setting does not go with the model or the rasters, or this machine has no such device.
    """
    spec = model.spec if settings.context else model.spec.without_branch()
    changed = in_fitting_brightness if settings.match is None else with_matched_values
    mosaics, notices = changed(side.bands, spec, settings)
    areas = areas_of([bands.mosaic for bands in mosaics], settings)
    rasters = [
        _at_resolution(bands, area, spec, settings.resolution, side.resolution_m)
        for bands, area in zip(mosaics, areas, strict=True)
    ]
    settings = with_engine(settings, model, device)
    target = Target.choose(device_for(settings, device), settings, model)
    grids = _lay_grids(rasters, target, replace(model, spec=spec), settings)
    sizes = {size for grid in grids for size in product(grid.rows.sizes, grid.cols.sizes)}
    augmentations = find_augmentations(settings.tta, settings.tta_scales)
    options = RunnerOptions(
        augmentations=augmentations,
        multiple=spec.network.multiple,
        compiled_sizes=sizes if settings.compile else (),
        onnx=onnx_engine(model, settings, grids, augmentations),
    )
    network, adaptation = _adapted(model, rasters, settings, device)
    if target.precision == "int8":
        ranges = model.ranges
        if needs_ranges(model, target.precision):
            ranges, adaptation = scene_ranges(model, rasters, settings), (*adaptation, UNMEASURED)
        options = replace(options, ranges=ranges, floats=model.floats)
    runner = Runner(network, str(target.device), target.precision, options)
    cells = widened(cells_of(side.cells, rasters), rasters, settings.crf_halo)
    windows = ScoredWindows(rasters, cells, grids, spec, folder, with_seams=True)
    windows.view.prepare(lambda: runner, side.batch_px, settings.refine_fraction)
    crf = Crf.of(settings, spec)
    return ScoredModel(spec, runner, rasters, windows, order, side.batch_px, crf, folder, notices, adaptation)


def _lay_grids(rasters: Sequence[ModelRaster], target: Target, model: Model, settings: ClassifySpec) -> list[Grid]:
    """The windows over each raster, as a prediction lays them."""
    sizes = [(raster.height, raster.width, raster.ratio) for raster in rasters]
    grids = {size: target.fitting_grid(size[:2], model, settings, size[2]) for size in set(sizes)}
    return [grids[size] for size in sizes]


def _adapted(
    model: Model, rasters: Sequence[ModelRaster], settings: ClassifySpec, device: str
) -> tuple[nn.Module, tuple[str, ...]]:
    """The network, adapted to all rasters together if the settings ask for it, and notices."""
    if settings.adapt is None:
        return model.module, ()
    line = adaptation_notice(model, settings)
    found = adapt(model, rasters, settings, choose_device(device))
    together = f"; {number_of(len(rasters), 'raster')} count as one scene" if len(rasters) > 1 else ""
    return found.of(model.module), (line + together, *found.lines)


def _at_resolution(
    bands: ModelBands, area: Area, model: ModelSpec, wanted: Resolution, resolution_m: float | None
) -> ModelRaster:
    """A mosaic at the resolution of the settings."""
    own = resolution_of(bands.mosaic, resolution_m)
    chosen = fitting_resolution(own, model, wanted)
    if chosen == "scene":
        return bands_at_resolution(bands, area, None, own)
    metres = chosen if isinstance(chosen, float) else model.resolution_m
    if metres is None:
        raise SpecError("--resolution model: this model does not know its resolution: give metres instead")
    return bands_at_resolution(bands, area, metres, own)
