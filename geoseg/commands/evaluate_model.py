"""`geoseg evaluate --model`: scores of a model on the labelled rasters that a training config names.

In: a bundle and a training config. Out: a result with all scores, and an optional report. The config names rasters and
the meaning of labels; bands, order of classes and windows are the model's. So rasters, pixels and windows are those
that a training run with that config scores. Nothing but the report is written.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import yaml

from geoseg.commands.judges import (
    Judge,
    ModelPath,
    ScoredPart,
    count_images,
    fold_judges,
    folds_in,
    lay_part,
    one_judge,
    score_part,
)
from geoseg.core.errors import OutputError, SpecError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import workspace
from geoseg.core.redaction import public_form, public_values
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores, pooled_scores
from geoseg.models.model import Model
from geoseg.models.other_runtime import count_weights
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.outputs.suspects import check_suspects_file, check_systems, write_suspects
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import (
    EvaluateSpec,
    TrainSpec,
    parse_spec,
)
from geoseg.spec.evaluate import Split
from geoseg.spec.settings import EvaluateSettings
from geoseg.training.run.settings import Config
from geoseg.training.scoring.examples import find_examples
from geoseg.training.scoring.find_suspects import FoundSuspect, check_min_area, find_suspects
from geoseg.training.scoring.suspect_pictures import SHOWN, show_suspects

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
    calibration: Calibration | None
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
    suspects: Path | None
    """The file with areas whose labels are likely to be wrong, if there is to be one."""
    suspect_count: int
    """Number of these areas."""
    seconds: float
    """Wall time until the scores were known."""
    notices: tuple[str, ...]
    """Sentences for the user."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {
            "scores": self.scores.as_dict(),
            "calibration": self.calibration and self.calibration.as_dict(),
            "report": self.report and str(self.report),
            "suspects": self.suspects and str(self.suspects),
            "notices": list(self.notices),
        }


def evaluate_model(
    model: ModelPath,
    config: Config | None,
    *,
    data: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[EvaluateSettings],
) -> ModelEvaluation:
    """Score a model on one side of a training config's split, as training does.

    Args:
        model: a bundle; None means the model that comes with geoseg. With `suspects` it may be the folder of a
            cross-validation, of which each label is judged by the model that did not learn it.
        config: a training config (YAML), or settings already read; must have the model's classes and offer its bands.
            None takes that of the cross-validation.
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
    if wanted.label_errors.suspects is not None:
        check_suspects_file(wanted.label_errors.suspects, overwrite)
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-evaluate") as scratch:
        judges = _judges(model, config, data, wanted, log)
        parts = [lay_part(judge, wanted, scratch, log) for judge in judges]
        _check_suspects(parts, wanted)
        scores = [score_part(part, wanted, log) for part in parts]
        found = _suspects(parts, wanted, log)
        first = parts[0]
        result = ModelEvaluation(
            model=first.judge.model.spec.name,
            data=source_of(first.judge.spec if config is None else config, data),
            split=wanted.scoring.split,
            scores=scores[0] if len(scores) == 1 else pooled_scores(scores),
            calibration=first.calibration() if len(parts) == 1 else None,
            images=count_images(judges),
            windows=sum(len(part.scored.windows) for part in parts),
            device=str(first.scored.runner.device),
            precision=first.scored.runner.precision,
            report=page,
            suspects=wanted.label_errors.suspects,
            suspect_count=len(found),
            seconds=time.perf_counter() - started,
            notices=tuple(log.lines),
        )
        if page is not None:
            _report(result, page, parts, wanted, found)
    return result


def _judges(
    model: ModelPath,
    config: Config | None,
    data: str | os.PathLike[str] | None,
    wanted: EvaluateSpec,
    reporter: Reporter,
) -> list[Judge]:
    """The models and the labels that each is scored on."""
    folds, wants_suspects = folds_in(model), wanted.label_errors.suspects is not None
    if wants_suspects and folds:
        assert isinstance(model, str | os.PathLike)  # a folder
        reporter.notice(f"each label is judged by the one of {folds} models that did not learn it")
        return list(fold_judges(Path(model), config, data, wanted, reporter))
    if config is None:
        raise SpecError("no config: give the training config that names the labelled rasters")
    if wants_suspects and wanted.scoring.split == "train":
        reporter.notice(
            "labels of the training side may be those that this model has learnt, mistakes included, so that it finds "
            "fewer of them: train with folds (data.split.folds), and give the folder of that run"
        )
    return [one_judge(model, config, data, wanted, reporter)]


def _check_suspects(parts: Sequence[ScoredPart], wanted: EvaluateSpec) -> None:
    """Refuse settings of suspects that do not go with the images, before anything is classified."""
    maps = [one for part in parts for one in part.maps]
    if wanted.label_errors.suspects is not None:
        check_systems([one.mosaic.grid.crs for one in maps], wanted.label_errors.suspects)
        check_min_area(maps, wanted.label_errors.min_area)


def _suspects(parts: Sequence[ScoredPart], wanted: EvaluateSpec, reporter: Reporter) -> Sequence[FoundSuspect]:
    """Find suspects and write them, if they are wanted."""
    path = wanted.label_errors.suspects
    if path is None:
        return ()
    classes = parts[0].judge.model.spec.classes
    maps = [one for part in parts for one in part.maps]
    found = find_suspects(maps, len(classes), wanted.label_errors.min_area)
    for line in (
        found.notice(wanted.label_errors.min_area),
        *write_suspects([f.suspect for f in found.ranked], classes, path),
    ):
        reporter.notice(line)
    return found.ranked


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


def _report(
    result: ModelEvaluation,
    page: Path,
    parts: Sequence[ScoredPart],
    wanted: EvaluateSpec,
    suspects: Sequence[FoundSuspect],
) -> None:
    model, spec = parts[0].judge.model, parts[0].judge.spec
    examples = [find_examples(p.scored.classify, p.scored.windows, model.spec.bands, EXAMPLES) for p in parts]
    worst = sorted((one for some, _ in examples for one in some), key=lambda one: one.miou)
    best = sorted((one for _, some in examples for one in some), key=lambda one: -one.miou)
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
            worst=worst[:EXAMPLES],
            best=best[:EXAMPLES],
            suspects=show_suspects(suspects[:SHOWN], model.spec.bands),
        ),
        page,
    )


def _facts(result: ModelEvaluation, model: Model) -> dict[str, str]:
    network = model.spec.network
    parameters = count_weights(model.module)
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
