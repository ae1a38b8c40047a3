"""Several runs of one config that differ in their seed alone, and the spread of their scores.

In: resolved settings with `seeds` above 1. Out: a folder with `seed-1/`, `seed-2/`, ..., each the folder of a run, and
beside them the bundle of the first, metrics.csv with the scores of each, and a report. Which model is kept depends on
no score: it is that of the first seed. A killed run goes on with the first seed that is not finished.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from geoseg.commands.train_parts import begin, kept_once_begun, run_part
from geoseg.commands.train_run import Start
from geoseg.core.errors import SpecError
from geoseg.core.events import NoticeLog, Reporter
from geoseg.core.files import draft_of, write_errors
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import read_spec
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.spec import CacheSpec, ModelCard, TrainSpec
from geoseg.training.run.result import SeedScores, TrainResult
from geoseg.training.run.run_folder import RunFolder


def train_seeds(spec: TrainSpec, output: Path, start: Start, reporter: Reporter) -> TrainResult:
    """Train a model for each seed, and keep that of the first.

    Raises:
        GeosegError: as `train`.
    """
    if spec.devices > 1:
        raise SpecError("seeds go with one device: take devices 1, or train them apart (seed: 0, 1, ...)")
    folder, log = RunFolder(output, spec.name), NoticeLog(reporter)
    begin(folder, spec, start, output.glob("seed-*"))
    seeds = [spec.seed + number for number in range(spec.seeds)]
    cards = []
    for number, seed in enumerate(seeds, 1):
        log.notice(f"seed {seed}, {number} of {spec.seeds}")
        with kept_once_begun(folder, output / "seed-1"):
            part = spec.model_copy(update={"seed": seed, "seeds": 1, "cache": _shared(spec.cache, folder)})
            cards.append(read_spec(run_part(part, output / f"seed-{number}", log)).card)
    scored = [_scored(seed, card) for seed, card in zip(seeds, cards, strict=True)]
    result = _result(folder, scored, cards, tuple(log.lines))
    with write_errors(output):
        _save_bundle(result)
        _write_metrics(result)
        _write_report(spec, result)
        folder.clear_scratch()
    return result


def _shared(cache: CacheSpec | None, folder: RunFolder) -> CacheSpec | None:
    """The same settings, with a folder for the windows of all seeds."""
    if cache is None or cache.folder is not None:
        return cache
    return cache.model_copy(update={"folder": folder.cached_windows.absolute()})


def _scored(seed: int, card: ModelCard) -> SeedScores:
    tested = Scores.from_dict(card.test_scores) if card.test_scores else None
    return SeedScores(seed, Scores.from_dict(card.scores), tested)


def _result(
    folder: RunFolder, scored: Sequence[SeedScores], cards: Sequence[ModelCard], notices: tuple[str, ...]
) -> TrainResult:
    """The result of all seeds: that of the first, whose model is kept, and the scores of each."""
    first, card = scored[0], cards[0]
    training = card.training
    model = load_model(folder.path / "seed-1" / folder.bundle.name)
    return TrainResult(
        bundle=folder.bundle,
        config=folder.config,
        metrics=folder.metrics,
        report=folder.report,
        scores=first.scores,
        best_epoch=training["best_epoch"],
        epoch_rule=card.epoch_rule,
        epochs=training["epochs"],
        parameters=sum(p.numel() for p in model.module.parameters()),
        train_images=training["train_images"],
        train_pixels=training["train_pixels"],
        val_images=training["val_images"],
        val_pixels=first.scores.pixels,
        device=training["device"],
        precision=training["precision"],
        seconds=sum(one.training["seconds"] for one in cards),
        val_polygons=training.get("val_polygons"),
        test_scores=first.test_scores,
        test_images=training.get("test_images", 0),
        test_pixels=first.test_scores.pixels if first.test_scores else 0,
        test_polygons=training.get("test_polygons"),
        seeds=tuple(scored),
        calibration={side: Calibration.from_dict(found) for side, found in card.calibration.items()},
        notices=notices,
    )


def _save_bundle(result: TrainResult) -> None:
    """Save the model of the first seed, with the spread of all on its card."""
    model = load_model(result.bundle.parent / "seed-1" / result.bundle.name)
    card = model.spec.card
    spread = {"spread": result.spread and result.spread.as_dict()}
    if result.test_spread is not None:
        spread["test_spread"] = result.test_spread.as_dict()
    training = card.training | {"seeds": [one.seed for one in result.seeds]} | spread
    limits = f"{card.limits} {_said(result)}".strip()
    card = card.model_copy(update={"training": training, "limits": limits})
    save_model(
        model.module, model.spec.model_copy(update={"card": card}), result.bundle, half=True, ranges=model.ranges
    )


def _said(result: TrainResult) -> str:
    """A sentence on the spread of the main score."""
    assert result.spread is not None
    one = result.spread.overall["miou"]
    deviation = "" if one.deviation is None else f", standard deviation {one.deviation:.3f}"
    return (
        f"It is the first of {number_of(one.runs, 'run')} that differ in their seed alone, not the best: their "
        f"validation mIoU is {one.mean:.3f} on average, {one.lowest:.3f} to {one.highest:.3f}{deviation}."
    )


def _write_metrics(result: TrainResult) -> None:
    """Write a line of scores per seed and side."""
    sides = [
        (one.seed, side, scores)
        for one in result.seeds
        for side, scores in (("val", one.scores), ("test", one.test_scores))
        if scores is not None
    ]
    lines = [
        {"seed": seed, "split": side, "pixels": scores.pixels} | scores.epoch_columns() for seed, side, scores in sides
    ]
    with draft_of(result.metrics) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, dict.fromkeys(name for line in lines for name in line))
        table.writeheader()
        table.writerows(lines)


def _write_report(spec: TrainSpec, result: TrainResult) -> None:
    write_report(
        Report(
            title=f"{spec.name}, {len(result.seeds)} seeds",
            classes=spec.classes,
            scores=result.scores,
            history=(),
            best_epoch=None,
            test_scores=result.test_scores,
            spread=result.spread,
            test_spread=result.test_spread,
            facts=_facts(spec, result),
            settings=result.config.read_text("utf-8"),
            calibration=result.calibration.get("val"),
            card=read_spec(result.bundle).card,
            worst=(),
            best=(),
        ),
        result.report,
    )


def _facts(spec: TrainSpec, result: TrainResult) -> dict[str, str]:
    network = spec.network
    return {
        "Network": f"{network.architecture} {network.encoder}, {result.parameters / 1e6:.2f} M parameters",
        "Bands": ", ".join(spec.data.bands),
        "Seeds": ", ".join(str(one.seed) for one in result.seeds),
        "The model": "that of the first seed, which no score has chosen; the scores above are its own",
        "Epoch kept": result.epoch_rule,
        "Labels": f"{pixels_in_words(result.train_pixels)} learnt from, {pixels_in_words(result.val_pixels)} scored",
        "Time": f"{result.seconds / 60:,.1f} min on {result.device} ({result.precision}), all seeds together",
        "Reports": ", ".join(f"seed-{number}/report.html" for number in range(1, len(result.seeds) + 1)),
        "Made by": f"geoseg {__version__}",
    }
