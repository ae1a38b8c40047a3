"""Cross-validation: a run for each fold, one on all labels, and the scores of all folds together.

In: resolved settings with `data.split.folds`. Out: a folder with `fold_1/`, ..., `final/`, each the folder of a run,
and beside them the bundle of the last, whose card has the pooled scores, metrics.csv with a line per fold, and a
report. A killed run goes on with the first fold that is not finished.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.commands.train_parts import begin, kept_once_begun, run_part
from geoseg.commands.train_run import Start
from geoseg.core.errors import LabelError, SpecError
from geoseg.core.events import NoticeLog, Reporter
from geoseg.core.files import draft_of, write_errors
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.scores import Scores, pooled_scores
from geoseg.metrics.unit_counts import UnitCounts, join_counts, load_counts
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import read_spec
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.spec import ModelCard, SplitSpec, TrainSpec
from geoseg.training.run.result import TrainResult
from geoseg.training.run.run_folder import RunFolder

FINAL = "final"
"""Folder of the run on all labels."""


@dataclass(frozen=True)
class FoldResult:
    """What one fold has given."""

    scores: Scores
    """Scores of the labels that it did not learn."""
    images: int
    """Images with such labels."""
    polygons: int | None
    """Such polygons; None where the split is not by polygons."""
    seconds: float
    """Duration of its training."""
    temperature: float
    """The temperature that fits its model's confidences to these labels."""
    counts: UnitCounts | None
    """Pixel counts by unit of a bootstrap; None where they are not kept."""


def train_folds(spec: TrainSpec, output: Path, start: Start, reporter: Reporter) -> TrainResult:
    """Train a model for each fold and one on all labels.

    Raises:
        GeosegError: as `train`.
    """
    folds = spec.data.split.folds or 0
    if spec.devices > 1:
        raise SpecError(
            "data.split.folds goes with one device: take devices 1, or train the folds apart (fold: 1, ...)"
        )
    folder, log = RunFolder(output, spec.name), NoticeLog(reporter)
    begin(folder, spec, start, [*output.glob("fold_*"), output / FINAL])
    found = []
    for number in range(1, folds + 1):
        log.notice(f"fold {number} of {folds}")
        with kept_once_begun(folder, output / "fold_1"):
            found.append(_fold(with_split(spec, fold=number), output / f"fold_{number}", log))
    log.notice(f"all labels, for the model itself, whose scores are those of the {folds} folds")
    final = run_part(on_all_labels(spec), output / FINAL, log)
    result = _result(folder, found, final, tuple(log.lines))
    with write_errors(output):
        _save_bundle(result, final, spec.card.limits, _mean_temperature(found))
        _write_metrics(result)
        _write_report(spec, result)
    return result


def with_split(spec: TrainSpec, **changes: Any) -> TrainSpec:
    """The same settings with fields of data.split changed.

    Raises:
        ValidationError: if they do not go together.
    """
    split = SplitSpec.model_validate(spec.data.split.model_dump() | changes)
    return spec.model_copy(update={"data": spec.data.model_copy(update={"split": split})})


def on_all_labels(spec: TrainSpec) -> TrainSpec:
    """The settings of the model itself, which learns all labels but those of the test side."""
    if spec.data.split.test_share:
        return with_split(spec, val_share=0, folds=None, fold=None)
    return with_split(spec, by="none", folds=None, fold=None)


def _fold(spec: TrainSpec, path: Path, reporter: Reporter) -> FoldResult:
    """Train a fold, unless it is finished; its results are those in its bundle."""
    run_part(spec, path, reporter)
    folder = RunFolder(path, spec.name)
    model = read_spec(folder.bundle)
    training = model.card.training
    return FoldResult(
        Scores.from_dict(model.card.scores),
        training["val_images"],
        training.get("val_polygons"),
        training["seconds"],
        model.temperature,
        load_counts(folder.unit_counts),
    )


def _pooled(folds: Sequence[FoldResult]) -> Scores:
    """The scores of all folds together, with intervals over the units of all of them."""
    scored = [one for one in folds if one.scores.pixels]
    counts = [one.counts for one in scored if one.counts is not None]
    found = next((one.scores.intervals for one in scored), None)
    if found is None or len(counts) < len(scored):  # runs of an earlier version keep no counts by unit
        return pooled_scores([one.scores for one in folds])
    together = join_counts(counts)
    return Bootstrap(len(together)).scores(together, list(scored[0].scores.iou), found.unit)


def _result(folder: RunFolder, folds: Sequence[FoldResult], final: Path, notices: tuple[str, ...]) -> TrainResult:
    """The result of all folds: pooled scores, and the model that is trained on all labels."""
    scores = _pooled(folds)
    if not scores.pixels:
        raise LabelError("no fold was scored: label more, or take fewer folds (data.split.folds)")
    model = load_model(final)
    card, polygons = model.spec.card, [one.polygons for one in folds if one.polygons is not None]
    training, test = card.training, Scores.from_dict(card.test_scores) if card.test_scores else None
    return TrainResult(
        bundle=folder.bundle,
        config=folder.config,
        metrics=folder.metrics,
        report=folder.report,
        scores=scores,
        best_epoch=training["best_epoch"],
        epoch_rule=card.epoch_rule,
        epochs=training["epochs"],
        parameters=sum(p.numel() for p in model.module.parameters()),
        train_images=training["train_images"],
        train_pixels=training["train_pixels"],
        val_images=min(training["train_images"], sum(one.images for one in folds)),
        val_pixels=scores.pixels,
        device=training["device"],
        precision=training["precision"],
        seconds=training["seconds"] + sum(one.seconds for one in folds),
        val_polygons=sum(polygons) if polygons else None,
        test_scores=test,
        test_images=training.get("test_images", 0),
        test_pixels=test.pixels if test else 0,
        test_polygons=training.get("test_polygons"),
        folds=tuple(one.scores for one in folds),
        notices=notices,
    )


def _card(card: ModelCard, own_limits: str, result: TrainResult) -> ModelCard:
    """The card of the model itself: scores of the folds, and a sentence that says so."""
    folds = len(result.folds)
    said = (
        f"Its scores are those of {folds} models like it, each on labels that it had not learnt (cross-validation); it "
        f"was itself trained on {_learnt(result)}. Its temperature is the mean of theirs."
    )
    found = {
        "scores": result.scores.as_dict(),
        "limits": f"{own_limits} {said}".strip(),
        "training": card.training | {"folds": folds},
        "calibration": {},  # what the last run has measured was without a temperature
    }
    return card.model_copy(update=found)


def _learnt(result: TrainResult) -> str:
    return "all labels" if result.test_scores is None else "all labels but those of the test"


def _mean_temperature(folds: Sequence[FoldResult]) -> float:
    """The geometric mean of the folds' temperatures, to four digits."""
    return float(f"{statistics.geometric_mean(one.temperature for one in folds):.4g}")


def _save_bundle(result: TrainResult, final: Path, limits: str, temperature: float) -> None:
    """Save the model that is trained on all labels, with the scores and the mean temperature of the folds."""
    model = load_model(final)
    found = {"card": _card(model.spec.card, limits, result), "temperature": temperature}
    save_model(model.module, model.spec.model_copy(update=found), result.bundle, half=True, ranges=model.ranges)


def _write_metrics(result: TrainResult) -> None:
    """Write a line of scores per fold."""
    lines = [
        {"fold": number, "pixels": scores.pixels} | scores.epoch_columns()
        for number, scores in enumerate(result.folds, 1)
    ]
    with draft_of(result.metrics) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, dict.fromkeys(name for line in lines for name in line))
        table.writeheader()
        table.writerows(lines)


def _write_report(spec: TrainSpec, result: TrainResult) -> None:
    card = read_spec(result.bundle).card
    write_report(
        Report(
            title=f"{spec.name}, {len(result.folds)} folds",
            classes=spec.classes,
            scores=result.scores,
            history=(),
            best_epoch=None,
            facts=_facts(spec, result),
            settings=result.config.read_text("utf-8"),
            card=card,
            worst=(),
            best=(),
            test_scores=result.test_scores,
        ),
        result.report,
    )


def _facts(spec: TrainSpec, result: TrainResult) -> dict[str, str]:
    network, folds = spec.network, len(result.folds)
    mious = [one.miou for one in result.folds if one.pixels]
    polygons = "" if result.val_polygons is None else f"{number_of(result.val_polygons, 'polygon')}, "
    return {
        "Network": f"{network.architecture} {network.encoder}, {result.parameters / 1e6:.2f} M parameters",
        "Bands": ", ".join(spec.data.bands),
        "Scores": f"of {folds} models together, each on a fold that it did not learn; counts of pixels are added",
        "mIoU by fold": f"{', '.join(f'{one:.3f}' for one in mious)}; standard deviation {np.std(mious):.3f}",
        "Labels scored": f"{polygons}{pixels_in_words(result.val_pixels)}",
        "The model": f"trained on {_learnt(result)} ({pixels_in_words(result.train_pixels)})",
        "Epoch kept": result.epoch_rule,
        "Reports": ", ".join(f"fold_{number}/report.html" for number in range(1, folds + 1)),
        "Made by": f"geoseg {__version__}",
    }
