"""`geoseg compare`: several models on the same labelled pixels, with intervals of their differences.

In: models or runs, and a training config. Out: a result, and if wanted a table as CSV and a page. The config names
rasters, classes, and all bands from which the models take theirs. Rasters are read and split once for all models.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Unpack

from geoseg.commands.evaluate_model import SIDES, source_of
from geoseg.commands.model_entries import ModelEntry, find_baseline, find_entries, order_of_classes
from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import workspace
from geoseg.core.redaction import public_form
from geoseg.core.version import __version__
from geoseg.core.wording import number_of
from geoseg.inference.fit import misfit_lines, resolution_misfit, statistics_misfit
from geoseg.metrics.comparison import compare_scores
from geoseg.metrics.interval import FEW_UNITS, LEAST_UNITS, LEVEL
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.unit_counts import UnitCounts
from geoseg.models.bundle import load_model
from geoseg.outputs.comparison_table import ComparedModel, write_comparison_table
from geoseg.outputs.report.comparison import ComparisonPage, write_comparison_page
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import ClassSpec, CompareSpec, NormalizationSpec, TrainSpec, parse_spec
from geoseg.spec.evaluate import Split
from geoseg.spec.settings import CompareSettings
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.run.settings import Config, resolve_settings
from geoseg.training.scoring.model_rasters import ModelBands, model_bands
from geoseg.training.scoring.scored_model import LabelledSide, lay_model
from geoseg.training.scoring.units import UNITS, Units

__all__ = ["ComparedModel", "Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`."""

    data: str
    """The config or list of tiles that names the rasters, as it was given; the config's name for settings."""
    split: Split
    """Which side of the split was scored."""
    models: tuple[ComparedModel, ...]
    """The models, that with the highest mIoU first."""
    baseline: str
    """Name of the model from which differences are taken."""
    unit: str
    """What a resample draws: blocks of a size, or images."""
    units: int
    """Number of units with labels."""
    draws: int
    """Number of resamples."""
    seed: int
    """Seed of the resamples."""
    level: float
    """Confidence of the intervals."""
    images: int
    """Number of images with labels that are scored."""
    pixels: int
    """Labelled pixels scored."""
    table: Path | None
    """The table, if there is to be one."""
    report: Path | None
    """The page, if there is to be one."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        paths = {name: path and str(path) for name, path in (("table", self.table), ("report", self.report))}
        lists = {"models": [one.as_dict() for one in self.models], "notices": list(self.notices)}
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | lists | paths


def compare(
    models: Sequence[str | os.PathLike[str]],
    config: Config,
    *,
    data: str | os.PathLike[str] | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[CompareSettings],
) -> Comparison:
    """Score models on the same pixels of one side of a training config's split.

    Args:
        models: model files, `default`, or folders of runs; two or more. Each may have settings of its own that decide
            pixels, behind its path: `default@tta=flips,precision=bf16`; so one model is compared with itself.
        config: a training config (YAML), or settings already read; it must have the models' classes by name, and all
            bands that they take.
        data: CSV of labelled rasters, instead of the config's data.
        output: folder that gets `comparison.csv` and `comparison.html`; default: nothing is written.
        overwrite: replace these if they exist.
        reporter: gets notices, and progress: stage `reading` counts pixels, `scoring` batches of each model.
        settings: fields of CompareSpec.

    Raises:
        ModelError: if a bundle cannot be loaded, has other classes, or does not fit the config's bands.
        SpecError: if a setting is invalid.
        LabelError: if labels cannot be used, or there are none to score.
        SceneError: if an image cannot be read.
        OutputError: if a file exists or cannot be written.
    """
    started, log = time.perf_counter(), NoticeLog(reporter)
    wanted = _parse(settings)
    files = _name_files(output, overwrite)
    entries = find_entries(models, wanted.classify)
    baseline = find_baseline(wanted.bootstrap.baseline, [entry.name for entry in entries])
    spec = resolve_settings(config, data, {})
    orders = [order_of_classes(spec.classes, entry) for entry in entries]
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-evaluate") as scratch:
        read = read_training_data(spec, only=wanted.scoring.split, reporter=log)
        scoring = _Scoring.of(spec, read, wanted, scratch)
        counts = [scoring.count(entry, order, log) for entry, order in zip(entries, orders, strict=True)]
    bootstrap = Bootstrap(len(counts[0]), wanted.bootstrap.draws, wanted.bootstrap.seed)
    unit = scoring.units.words
    _notice_few(bootstrap.units, unit, log)
    scores = [bootstrap.scores(one, [c.name for c in spec.classes], unit) for one in counts]
    compared, base = compare_scores(counts, scores, baseline, bootstrap)
    rows = [
        ComparedModel(entry.name, public_form(entry.path), entry.spec.bands, entry.spec.resolution_m, one)
        for entry, one in zip(entries, compared, strict=True)
    ]
    result = Comparison(
        data=source_of(config, data),
        split=wanted.scoring.split,
        models=tuple(sorted(rows, key=lambda one: -one.compared.scores.miou)),
        baseline=entries[base].name,
        unit=unit,
        units=bootstrap.units,
        draws=bootstrap.draws,
        seed=bootstrap.seed,
        level=LEVEL,
        images=scoring.side.images,
        pixels=compared[0].scores.pixels,
        table=files[0],
        report=files[1],
        seconds=time.perf_counter() - started,
        notices=tuple(log.lines),
    )
    _write(result, spec.classes)
    return result


# ----------------------------------------------------------------------------------------------------------- scoring


def _parse(settings: CompareSettings) -> CompareSpec:
    """The settings, without those that say how one model reads a scene.

    Raises:
        SpecError: if one of these is given, or a setting is invalid.
    """
    wanted = parse_spec(CompareSpec, settings, source="settings")
    classify = wanted.classify
    stated = {"bands": classify.bands, "nodata": classify.nodata, "rescale": classify.given_rescale}
    if given := next((name for name, value in stated.items() if value is not None), None):
        raise SpecError(f"{given} says how one model reads a scene: leave it out, the config's data holds for all")
    return wanted


@dataclass(frozen=True)
class _Scoring:
    """What is the same for all models."""

    spec: TrainSpec
    """The config."""
    read: TrainingData
    """The rasters, with the config's bands."""
    side: SplitSide
    """Those of the side that is scored."""
    wanted: CompareSpec
    """The settings."""
    units: Units
    """What a resample draws."""
    scratch: Path
    """Folder for scratch files."""

    @classmethod
    def of(cls, spec: TrainSpec, read: TrainingData, wanted: CompareSpec, scratch: Path) -> Self:
        """The side of the settings, and its units."""
        side = read.side(wanted.scoring.split)
        block_px = wanted.bootstrap.block_px or spec.data.split.block_px
        units = UNITS[wanted.bootstrap.unit](side.rasters, block_px, len(spec.classes))
        return cls(spec, read, side, wanted, units, scratch)

    def count(self, entry: ModelEntry, order: Sequence[int], log: Reporter) -> UnitCounts:
        """Count the pixels of one model by unit.

        Raises:
            LabelError: if nothing is labelled in the area of interest.
        """
        bands = model_bands(self.side.rasters, self.spec.data, self.read.scaling, entry.spec)
        for line in self._misfits(entry, bands[0]):
            log.notice(f"{entry.name}: {line}")
        labelled = LabelledSide(bands, self.side.cells, self.spec.data.resolution_m, self.spec.batch_px)
        scoring, folder = self.wanted.scoring, Path(tempfile.mkdtemp(dir=self.scratch))
        scored = lay_model(load_model(entry.path), labelled, entry.settings, scoring.device, folder, order)
        for line in (*scored.notices, *scored.adaptation):
            log.notice(f"{entry.name}: {line}")
        reach = self.spec.boundary_px if scoring.boundary_px is None else scoring.boundary_px
        counts = scored.count(self.units, reach or None, log)
        if not len(counts):
            raise LabelError("no labelled pixel lies in the area of interest: choose another aoi or bbox")
        return counts

    def _misfits(self, entry: ModelEntry, bands: ModelBands) -> list[str]:
        """In what the images differ from what a model knows; none are refused, as scores show what that does."""
        of_all = self.read.normalization
        mean, std = (tuple(of_all_bands[i] for i in bands.bands) for of_all_bands in (of_all.mean, of_all.std))
        own = NormalizationSpec(mean=mean, std=std)
        of_values = statistics_misfit(own, entry.spec) if bands.change is None else None
        of_resolution = resolution_misfit(self.read.resolution_m, entry.spec, entry.settings.resolution)
        return misfit_lines([of_resolution, of_values], is_forced=True)


def _notice_few(units: int, unit: str, log: Reporter) -> None:
    if units < FEW_UNITS:
        what = "intervals of so few are rough" if units >= LEAST_UNITS else "too few for intervals"
        log.notice(
            f"{number_of(units, 'unit')} with labels (each {unit}): {what}; smaller blocks (block_px) are more, as "
            "long as neighbouring ones are not alike"
        )


# ----------------------------------------------------------------------------------------------------------- outputs


def _name_files(output: str | os.PathLike[str] | None, overwrite: bool) -> tuple[Path | None, Path | None]:
    """Paths of the table and of the page, refused before any work is done if they exist."""
    if output is None:
        return None, None
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file: choose a folder as --output")
    files = folder / "comparison.csv", folder / "comparison.html"
    if not overwrite and (there := next((path for path in files if path.exists()), None)):
        raise OutputError(f"{there} exists: pass --overwrite to replace it, or choose another --output")
    return files


def _write(result: Comparison, classes: Sequence[ClassSpec]) -> None:
    """Write the table and the page, if there are to be any.

    Raises:
        OutputError: if they cannot be written.
    """
    if result.table is None or result.report is None:
        return
    write_comparison_table(result.models, result.table)
    write_comparison_page(
        ComparisonPage(
            title=f"{number_of(len(result.models), 'model')} on the same {SIDES[result.split]}",
            classes=classes,
            rows=result.models,
            baseline=result.baseline,
            facts=_facts(result),
        ),
        result.report,
    )


def _facts(result: Comparison) -> dict[str, str]:
    return {
        "Data": result.data,
        SIDES[result.split].capitalize(): f"{number_of(result.images, 'image')}, "
        f"{number_of(result.pixels, 'labelled pixel')}, the same for all models",
        "Intervals": f"{result.level:.0%}, by {result.draws:,} resamples of {number_of(result.units, 'unit')}, each "
        f"{result.unit} (seed {result.seed}); differences by the same resamples",
        "Made by": f"geoseg {__version__}",
    }
