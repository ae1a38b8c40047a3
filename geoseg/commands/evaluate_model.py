"""`geoseg evaluate --model`: scores of a model on the labelled rasters that a training config names.

In: a bundle and a training config. Out: a result with all scores, and an optional report. The config names rasters and
the meaning of labels; bands, order of classes and windows are the model's. So rasters, pixels and windows are those
that a training run with that config scores. Nothing but the report is written.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import yaml

from geoseg.core.errors import OutputError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import workspace
from geoseg.core.redaction import public_form, public_values
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.inference.fit import misfit_lines, resolution_misfit, statistics_misfit
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.calibration.counter import CalibrationCounter
from geoseg.metrics.scores import Scores
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import (
    ClassifySpec,
    EvaluateSpec,
    ModelSpec,
    TrainSpec,
    parse_spec,
)
from geoseg.spec.evaluate import Split
from geoseg.spec.settings import EvaluateSettings
from geoseg.training.data.config_for_model import config_for_model
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.run.settings import Config, resolve_settings
from geoseg.training.scoring.examples import find_examples
from geoseg.training.scoring.scored_model import ScoredModel
from geoseg.training.scoring.side_scores import lay_side, score_side

__all__ = ["ModelEvaluation", "Split", "evaluate_model"]

EXAMPLES = 4
"""Worst and best windows in the report, of each."""
SIDES = {"val": "validation rasters", "train": "training rasters", "test": "test rasters"}
"""Sides of a split in words."""


@dataclass(frozen=True)
class ModelEvaluation:
    """The result of `evaluate_model`."""

    model: str
    """Name of the model."""
    data: str
    """The config or list of tiles that names the rasters, as it was given; the config's name for settings."""
    split: Split
    """Which side of the split was scored."""
    scores: Scores
    """How well predictions and labels agree."""
    calibration: Calibration
    """How well the probabilities of classes fit the labels, with the model's temperature and without."""
    images: int
    """Number of images with labels that are scored."""
    windows: int
    """Number of windows."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    report: Path | None
    """The report, if there is to be one."""
    seconds: float
    """Wall time until the scores were known."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {
            "scores": self.scores.as_dict(),
            "calibration": self.calibration.as_dict(),
            "report": self.report and str(self.report),
            "notices": list(self.notices),
        }


def evaluate_model(
    model: str | os.PathLike[str] | Model | None,
    config: Config,
    *,
    data: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[EvaluateSettings],
) -> ModelEvaluation:
    """Score a model on one side of a training config's split, as training does.

    Args:
        model: a bundle; None means the model that comes with geoseg.
        config: a training config (YAML), or settings already read; must have the model's classes and offer its bands.
        data: CSV of labelled rasters, instead of the config's data.
        report: HTML file that gets the scores, and the windows where the model is worst and best.
        overwrite: replace a report that exists.
        reporter: gets notices, and progress: stage `reading` counts pixels, `scoring` batches.
        settings: fields of EvaluateSpec.

    Raises:
        ModelError: if the bundle cannot be loaded, or does not fit the config's bands or classes.
        SpecError: if a setting is invalid.
        LabelError: if labels cannot be used, or there are none to score.
        SceneError: if an image cannot be read.
        OutputError: if the report exists or cannot be written.
    """
    started, log = time.perf_counter(), NoticeLog(reporter)
    page = None if report is None else Path(report)
    wanted = parse_spec(EvaluateSpec, settings, source="settings")
    _check_report(page, overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)
    scoring = wanted.scoring
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-evaluate") as scratch:
        spec = config_for_model(resolve_settings(config, data, {}), loaded.spec, wanted.classify, scoring.split)
        read = read_training_data(spec, only=scoring.split, scaling=loaded.spec.scaling, reporter=log)
        side = read.side(scoring.split, log)
        scored = lay_side(loaded, side, spec, wanted, scratch)
        for line in (*_misfits(read, loaded.spec, wanted.classify, scored), *scored.notices):
            log.notice(line)
        counter = CalibrationCounter(len(spec.classes), loaded.spec.temperature)
        scores = score_side(scored, spec, wanted, log, (counter,))
        result = ModelEvaluation(
            model=loaded.spec.name,
            data=source_of(config, data),
            split=scoring.split,
            scores=scores,
            calibration=counter.calibration([c.name for c in spec.classes]),
            images=side.images,
            windows=len(scored.windows),
            device=str(scored.runner.device),
            precision=scored.runner.precision,
            report=page,
            seconds=time.perf_counter() - started,
            notices=tuple(log.lines),
        )
        if page is not None:
            _report(result, page, loaded, spec, wanted, scored)
    return result


def _check_report(page: Path | None, overwrite: bool) -> None:
    """Refuse an invalid path of the report before any work is done."""
    if page is None:
        return
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{page} does not end in .html, as a report does: choose another --report")
    if page.is_dir():
        raise OutputError(f"{page} is a folder: choose another --report")
    if page.exists() and not overwrite:
        raise OutputError(f"{page} exists: pass --overwrite to replace it, or choose another --report")


def source_of(config: Config, data: str | os.PathLike[str] | None) -> str:
    """What names the labelled rasters, without secrets."""
    if data is not None:
        return public_form(data)
    return config.name if isinstance(config, TrainSpec) else public_form(config)


def _misfits(data: TrainingData, model: ModelSpec, settings: ClassifySpec, scored: ScoredModel) -> list[str]:
    """In what images differ from what the model knows. None are refused: the scores show what that does."""
    is_changed = settings.given_rescale is not None or scored.notices
    of_values = None if is_changed else statistics_misfit(data.normalization, model)
    of_resolution = resolution_misfit(data.resolution_m, model, settings.resolution)
    return misfit_lines([of_resolution, of_values], is_forced=True)


def _report(
    result: ModelEvaluation, page: Path, model: Model, spec: TrainSpec, wanted: EvaluateSpec, scored: ScoredModel
) -> None:
    worst, best = find_examples(scored.classify, scored.windows, model.spec.bands, EXAMPLES)
    write_report(
        Report(
            title=f"{result.model} on {SIDES[result.split]}",
            classes=model.spec.classes,
            scores=result.scores,
            calibration=result.calibration,
            history=(),
            best_epoch=None,
            facts=_facts(result, model),
            settings=_settings(result, spec, wanted),
            card=model.spec.card,
            worst=worst,
            best=best,
        ),
        page,
    )


def _facts(result: ModelEvaluation, model: Model) -> dict[str, str]:
    network = model.spec.network
    parameters = sum(p.numel() for p in model.module.parameters())
    images, windows = number_of(result.images, "image"), number_of(result.windows, "window")
    return {
        "Network": f"{network.architecture} {network.encoder}".strip() + f", {parameters / 1e6:.2f} M parameters",
        "Bands": ", ".join(model.spec.bands),
        SIDES[result.split].capitalize(): f"{images}, {pixels_in_words(result.scores.pixels)} labelled",
        "Time": f"{result.seconds:,.1f} s for {windows} on {result.device} ({result.precision})",
        "Made by": f"geoseg {__version__}",
    }


def _settings(result: ModelEvaluation, spec: TrainSpec, wanted: EvaluateSpec) -> str:
    """The settings of the evaluation, as YAML, without those of a training run, which may not be the model's."""
    settings = {
        "model": result.model,
        "split": result.split,
        "boundary_px": result.scores.boundary_px,
        **public_values(wanted.classify.model_dump(mode="json", exclude_defaults=True)),
        "data": public_values(spec.data.model_dump(mode="json", exclude_defaults=True)),
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
