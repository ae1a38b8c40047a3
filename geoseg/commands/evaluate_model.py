"""`geoseg evaluate --model`: how well a model does on ground that a training config names.

What goes in: a bundle and a training config. What comes out: a result with all scores, and a report if one is wanted.
The config says which ground is scored and what its labels mean; the model says which bands are read, how its classes
are ordered and in which windows it sees the ground. So the ground, the pixels and the windows are those that a training
run with that config scores. Writes nothing but the report.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import yaml

from geoseg.core.errors import ModelError, OutputError, SpecError
from geoseg.core.events import SILENT, NoticeLog, Reporter
from geoseg.core.files import workspace
from geoseg.core.redaction import public_form, public_values
from geoseg.core.version import __version__
from geoseg.core.wording import number_of
from geoseg.data.listing import list_rasters
from geoseg.metrics.scores import Scores
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.raster.bands.matching import fits_dtype
from geoseg.raster.gdal import gdal_settings
from geoseg.spec import (
    ClassSpec,
    DataSpec,
    EvaluateSpec,
    ModelSpec,
    TrainSpec,
    beside,
    load_train_spec,
    parse_spec,
)
from geoseg.spec.evaluate import Split
from geoseg.spec.settings import EvaluateSettings
from geoseg.training.examples import find_examples
from geoseg.training.image_files import open_image
from geoseg.training.inputs import read_training_data
from geoseg.training.scored_windows import ScoredWindows
from geoseg.training.scoring import load_scored, predict_scored, score_windows, scored_windows, tell_scored

__all__ = ["ModelEvaluation", "Split", "evaluate_model", "fit_config"]

EXAMPLES = 4
"""Worst and best windows in the report, of each."""
GROUND = {"val": "validation ground", "train": "training ground"}
RESOLUTION_FACTOR = 1.5
"""A model is told to be out of its depth beyond this ratio of ground resolutions."""


@dataclass(frozen=True)
class ModelEvaluation:
    """What `evaluate_model` found."""

    model: str
    """Name of the model."""
    data: str
    """The config or list of tiles that names the ground, as it was given; the config's name for settings."""
    split: Split
    """Which side of the split was scored."""
    scores: Scores
    """How well predictions and labels agree."""
    images: int
    """Images that contribute."""
    windows: int
    """Windows that the network saw."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    report: Path | None
    """The report, if one was wanted."""
    seconds: float
    """Wall time until the scores were known."""
    notices: tuple[str, ...]
    """What the user should know of: a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self) | {
            "scores": self.scores.as_dict(),
            "report": self.report and str(self.report),
            "notices": list(self.notices),
        }


def evaluate_model(
    model: str | os.PathLike[str] | Model | None,
    config: str | os.PathLike[str] | TrainSpec,
    *,
    data: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[EvaluateSettings],
) -> ModelEvaluation:
    """Score a model on one side of a training config's ground, as training does.

    Args:
        model: a bundle; None means the model that comes with geoseg.
        config: a training config (YAML), or settings already read; must have the model's classes and offer its bands.
        data: CSV of labelled tiles, instead of the config's data.
        report: HTML file that gets the scores, and the windows where the model is worst and best.
        overwrite: replace a report that exists.
        reporter: gets notices, and progress: stage `reading` counts pixels, `scoring` batches.
        settings: fields of EvaluateSpec.

    Raises:
        ModelError: if the bundle cannot be loaded, or does not fit the config's bands or classes.
        SpecError: if a setting makes no sense.
        LabelError: if labels cannot be used, or there are none to score.
        SceneError: if an image cannot be read.
        OutputError: if the report exists or cannot be written.
    """
    started, log = time.perf_counter(), NoticeLog(reporter)
    page = None if report is None else Path(report)
    wanted = parse_spec(EvaluateSpec, settings, source="settings")
    _check_report(page, overwrite)
    loaded = model if isinstance(model, Model) else load_model(model)
    if not wanted.context:
        loaded = Model(loaded.spec.model_copy(update={"context": None, "refine": None}), loaded.module)
    with gdal_settings(), workspace(Path(tempfile.gettempdir()) / "geoseg-evaluate") as scratch:
        spec = fit_config(_resolve(config, data), loaded.spec)
        scorer = Runner(loaded.module, wanted.device, wanted.precision)
        read = read_training_data(spec, only=wanted.split, scaling=loaded.spec.scaling, reporter=log)
        _report_resolution(read.resolution_m, loaded.spec, log)
        side = read.val if wanted.split == "val" else read.train
        windows = scored_windows(side, loaded.spec, scratch)
        tell_scored(windows, scorer, loaded.spec, spec.batch_px, scratch, wanted.refine_fraction)
        reach = spec.boundary_px if wanted.boundary_px is None else wanted.boundary_px
        result = ModelEvaluation(
            model=loaded.spec.name,
            data=_source(config, data),
            split=wanted.split,
            scores=_score(scorer, windows, spec, reach, log),
            images=side.images,
            windows=len(windows),
            device=str(scorer.device),
            precision=scorer.precision,
            report=page,
            seconds=time.perf_counter() - started,
            notices=tuple(log.lines),
        )
        if page is not None:
            _report(result, page, loaded, spec, scorer, windows)
    return result


# --------------------------------------------------------------------------------------------------------- settings


def _check_report(page: Path | None, overwrite: bool) -> None:
    """Refuse a place for the report before any work is done."""
    if page is None:
        return
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{page} does not end in .html, as a report does: choose another --report")
    if page.is_dir():
        raise OutputError(f"{page} is a folder: choose another --report")
    if page.exists() and not overwrite:
        raise OutputError(f"{page} exists: pass --overwrite to replace it, or choose another --report")


def _resolve(config: str | os.PathLike[str] | TrainSpec, data: str | os.PathLike[str] | None) -> TrainSpec:
    """The settings, with other tiles if these are given, and paths that say where they start."""
    spec = config if isinstance(config, TrainSpec) else load_train_spec(Path(config))
    tiles = {} if data is None else {"tiles": Path(data), "images": None, "labels": None, "scenes": ()}
    named = beside(spec.data.model_copy(update=tiles), Path.cwd())
    return spec.model_copy(update={"data": named})


def _source(config: str | os.PathLike[str] | TrainSpec, data: str | os.PathLike[str] | None) -> str:
    if data is not None:
        return public_form(data)
    return config.name if isinstance(config, TrainSpec) else public_form(config)


# ------------------------------------------------------------------------------------------------ a config that fits


def fit_config(spec: TrainSpec, model: ModelSpec) -> TrainSpec:
    """Turn a training config into what a model sees: its classes in its order, its bands in its order, its type.

    Raises:
        ModelError: if the config has other classes, lacks a band, or has values of another kind.
        SpecError: if the bands that the model wants stand in different places from image to image.
        LabelError: if an image lacks the config's own bands.
        SceneError: if an image cannot be opened.
    """
    _check_classes(spec.classes, model)
    if not fits_dtype(spec.data.dtype, model.dtype):
        raise ModelError(
            f"model {model.name} was trained on {model.dtype} values, the config's are {spec.data.dtype}: "
            "choose a model for such values, or correct data.dtype"
        )
    bands = _take_bands(spec.data, model) if spec.data.bands != model.bands else {}
    data = spec.data.model_copy(update={"dtype": model.dtype, **bands})
    return spec.model_copy(update={"classes": model.classes, "data": data})


def _check_classes(classes: Sequence[ClassSpec], model: ModelSpec) -> None:
    own, wanted = ({(c.id, c.name) for c in some} for some in (classes, model.classes))
    if own != wanted:
        raise ModelError(
            f"model {model.name} has the classes {_class_list(model.classes)}, the config has {_class_list(classes)}: "
            "give both the same ids and names, or choose another model"
        )


def _class_list(classes: Sequence[ClassSpec]) -> str:
    return ", ".join(f"{c.id} {c.name}" for c in classes)


def _take_bands(data: DataSpec, model: ModelSpec) -> dict[str, Any]:
    """The fields of a DataSpec that name bands, for a model that wants some of its bands or another order."""
    names = [name.strip().lower() for name in data.bands]
    missing = [name for name in model.bands if name.strip().lower() not in names]
    if missing:
        raise ModelError(
            f"model {model.name} wants the bands {', '.join(model.bands)}, the config has {', '.join(data.bands)}: "
            "choose a model of these bands, or name the others in data.bands"
        )
    picks = [names.index(name.strip().lower()) for name in model.bands]
    return {"bands": model.bands, "band_indexes": _places(data, picks)}


def _places(data: DataSpec, picks: Sequence[int]) -> tuple[int, ...]:
    """Where some of the config's bands stand in the files.

    All of its bands have to be found first: by position, the second of four bands is another one than of three.
    """
    if data.band_indexes is not None:
        return tuple(data.band_indexes[pick] for pick in picks)
    found: dict[tuple[int, ...], Path] = {}
    for entry in list_rasters(data):
        with open_image(entry.image, data) as scene:
            found.setdefault(tuple(scene.bands[pick] for pick in picks), entry.image)
    if len(found) > 1:
        (one, path), (other, other_path), *_ = found.items()
        raise SpecError(
            f"the model's bands stand at {list(one)} in {path} but at {list(other)} in {other_path}: "
            "score such images apart, or write them alike"
        )
    return next(iter(found))


# ---------------------------------------------------------------------------------------------------- scores, report


def _report_resolution(resolution_m: float | None, model: ModelSpec, reporter: Reporter) -> None:
    own, wanted = resolution_m, model.resolution_m
    if own and wanted and not 1 / RESOLUTION_FACTOR <= own / wanted <= RESOLUTION_FACTOR:
        reporter.notice(f"the images' pixels are {own:.3g} m, the model knows {wanted:.3g} m: it will do poorly")


def _score(scorer: Runner, windows: ScoredWindows, spec: TrainSpec, reach: int, reporter: Reporter) -> Scores:
    """Score in the batches in which training scores, so that not even roundings differ."""
    loader = load_scored(windows, spec.batch_px)
    names = [c.name for c in spec.classes]
    predict = partial(predict_scored, scorer)
    return score_windows(predict, loader, names, reach or None, reporter)


def _report(
    result: ModelEvaluation, page: Path, model: Model, spec: TrainSpec, scorer: Runner, windows: ScoredWindows
) -> None:
    worst, best = find_examples(partial(predict_scored, scorer), windows, model.spec.bands, EXAMPLES)
    write_report(
        Report(
            title=f"{result.model} on {GROUND[result.split]}",
            classes=model.spec.classes,
            scores=result.scores,
            history=(),
            best_epoch=None,
            facts=_facts(result, model),
            settings=_settings(result, spec),
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
        GROUND[result.split].capitalize(): f"{images}, {result.scores.pixels / 1e6:,.2f} Mpx labelled",
        "Time": f"{result.seconds:,.1f} s for {windows} on {result.device} ({result.precision})",
        "Made by": f"geoseg {__version__}",
    }


def _settings(result: ModelEvaluation, spec: TrainSpec) -> str:
    """What was scored, as YAML: no setting of a training run, which may not be this model's."""
    settings = {
        "model": result.model,
        "split": result.split,
        "boundary_px": result.scores.boundary_px,
        "data": public_values(spec.data.model_dump(mode="json", exclude_defaults=True)),
    }
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
