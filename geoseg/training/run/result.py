"""The result of a training run, and its report."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from geoseg.core.files import draft_of, workspace
from geoseg.core.version import __version__
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.scores import Scores
from geoseg.metrics.spread import ScoreSpread, spread_of
from geoseg.models.bundle import load_model
from geoseg.outputs.report.contents import Report
from geoseg.outputs.report.page import write_report
from geoseg.raster.scaling import describe_scaling
from geoseg.training.run.build import Run
from geoseg.training.run.card import KeptScores, epoch_rule
from geoseg.training.run.kept_model import as_evaluated
from geoseg.training.scoring.examples import find_examples
from geoseg.training.scoring.side_scores import lay_side
from geoseg.training.scoring.suspect_pictures import first_suspects

EXAMPLES = 4
"""Worst and best windows in the report, of each."""


@dataclass(frozen=True)
class SeedScores:
    """The scores of one of several runs that differ in their seed alone."""

    seed: int
    """Its seed."""
    scores: Scores
    """On the validation rasters."""
    test_scores: Scores | None
    """On the test rasters; None if there are none."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        tested = self.test_scores and self.test_scores.as_dict()
        return {"seed": self.seed, "scores": self.scores.as_dict(), "test_scores": tested}


@dataclass(frozen=True)
class TrainResult:
    """The result of a training run."""

    bundle: Path
    """The model of the best epoch."""
    config: Path
    """The resolved settings."""
    metrics: Path
    """CSV with one line per epoch."""
    report: Path
    """Curves, scores and examples, as one HTML file."""
    scores: Scores
    """The bundle's scores on the validation rasters, as `geoseg evaluate` gives them; of no pixel if there are none."""
    best_epoch: int
    """Epoch of the bundle, counted from 1."""
    epoch_rule: str
    """Which epoch that is of those done, and why it was kept."""
    epochs: int
    """Epochs done."""
    parameters: int
    """Trained numbers in the network."""
    train_images: int
    """Training images."""
    train_pixels: int
    """Labelled training pixels."""
    val_images: int
    """Validation images."""
    val_pixels: int
    """Labelled validation pixels."""
    device: str
    """Device the network ran on."""
    precision: str
    """Arithmetic of the network."""
    seconds: float
    """Wall time, over all parts of a resumed run."""
    train_polygons: int | None = None
    """Training polygons; None where the split is not by polygons."""
    val_polygons: int | None = None
    """Validation polygons, likewise."""
    test_scores: Scores | None = None
    """The bundle's scores on the test rasters, which chose nothing; None if there are none."""
    test_images: int = 0
    """Test images."""
    test_pixels: int = 0
    """Labelled test pixels."""
    test_polygons: int | None = None
    """Test polygons; None where the split is not by polygons."""
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    """How well the bundle's probabilities fit the labels of each side, by `val` and `test`; empty without labels."""
    folds: tuple[Scores, ...] = ()
    """Scores of each fold of a cross-validation; those of all folds together are `scores`."""
    seeds: tuple[SeedScores, ...] = ()
    """Scores of each of several seeds; those of the first, whose model is kept, are also `scores`."""
    notices: tuple[str, ...] = ()
    """Notices on the data and the run: a sentence each."""

    @property
    def spread(self) -> ScoreSpread | None:
        """Mean and spread of the validation scores of several seeds; None of a single run."""
        return spread_of([one.scores for one in self.seeds]) if self.seeds else None

    @property
    def test_spread(self) -> ScoreSpread | None:
        """The same of the test scores; None if there are none."""
        tested = [one.test_scores for one in self.seeds if one.test_scores is not None]
        return spread_of(tested) if tested else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        paths = {name: str(getattr(self, name)) for name in ("bundle", "config", "metrics", "report")}
        return (
            asdict(self)
            | paths
            | {
                "scores": self.scores.as_dict(),
                "test_scores": self.test_scores and self.test_scores.as_dict(),
                "calibration": {side: one.as_dict() for side, one in self.calibration.items()},
                "folds": [one.as_dict() for one in self.folds],
                "seeds": [one.as_dict() for one in self.seeds],
                "spread": self.spread and self.spread.as_dict(),
                "test_spread": self.test_spread and self.test_spread.as_dict(),
            }
        )


def make_result(run: Run, kept: KeptScores, notices: tuple[str, ...]) -> TrainResult:
    """Summarise a finished run, whose bundle has these scores."""
    recorder, folder, data = run.recorder, run.folder, run.data
    return TrainResult(
        bundle=folder.bundle,
        config=folder.config,
        metrics=folder.metrics,
        report=folder.report,
        scores=kept.val,
        best_epoch=recorder.best_epoch,
        epoch_rule=epoch_rule(run.spec.data.split, recorder.best_epoch, recorder.epochs, run.spec.swa_epochs),
        epochs=recorder.epochs,
        parameters=sum(p.numel() for p in run.learner.network.parameters()),
        train_images=data.train.images,
        train_pixels=int(data.train.class_counts.sum()),
        val_images=data.val.images,
        val_pixels=int(data.val.class_counts.sum()),
        device=str(run.hardware.device),
        precision=run.hardware.precision,
        seconds=recorder.seconds,
        train_polygons=data.train.polygons,
        val_polygons=data.val.polygons,
        test_scores=kept.test,
        test_images=kept.test_images,
        test_pixels=kept.test.pixels if kept.test else 0,
        test_polygons=kept.test_polygons,
        calibration=kept.calibration,
        notices=notices,
    )


def write_scores(result: TrainResult, path: Path) -> None:
    """Write a line of scores for the validation and for the test side, as CSV.

    Raises:
        OutputError: if they cannot be written.
    """
    sides = {"val": result.scores, "test": result.test_scores}
    lines = [{"split": split, "pixels": one.pixels} | one.epoch_columns() for split, one in sides.items() if one]
    with draft_of(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, dict.fromkeys(name for line in lines for name in line))
        table.writeheader()
        table.writerows(lines)


def write_run_report(run: Run, result: TrainResult) -> None:
    """Write the report of a run, with the windows where the saved network is worst and best.

    Raises:
        OutputError: if the report cannot be written.
    """
    best = load_model(result.bundle)
    with workspace(result.report) as scratch:
        scored = lay_side(best, run.data.val, run.spec, as_evaluated(run), scratch)
        worst, fine = find_examples(scored.classify, scored.windows, best.spec.bands, EXAMPLES)
        suspects = first_suspects(scored, len(run.spec.classes), scratch)
    write_report(
        Report(
            title=run.spec.name,
            classes=run.spec.classes,
            scores=result.scores,
            history=run.recorder.history,
            best_epoch=result.best_epoch,
            test_scores=result.test_scores,
            calibration=result.calibration.get("val"),
            facts=_facts(run, result),
            settings=result.config.read_text("utf-8"),
            card=best.spec.card,
            worst=worst,
            best=fine,
            suspects=suspects,
        ),
        result.report,
    )


def _test_facts(result: TrainResult) -> dict[str, str]:
    if result.test_scores is None:
        return {}
    outlined = "" if result.test_polygons is None else f"{number_of(result.test_polygons, 'polygon')}, "
    images, pixels = number_of(result.test_images, "image"), pixels_in_words(result.test_pixels)
    return {"Test rasters": f"{images}, {outlined}{pixels} labelled"}


def _unlabelled_facts(run: Run) -> dict[str, str]:
    side, data = run.data.unlabelled, run.spec.data
    amount = f"{number_of(side.images, 'image')}, {side.amount} of data"
    said = f"{amount}, in {data.unlabelled_share:.0%} of the training windows"
    return {f"{data.kind_without_labels.capitalize()} rasters": said} if side.images else {}


def _facts(run: Run, result: TrainResult) -> dict[str, str]:
    spec, data, network = run.spec, run.data, run.spec.network
    sides = {"Training rasters": data.train, "Validation rasters": data.val}
    return (
        {
            "Network": f"{network.architecture} {network.encoder}, {result.parameters / 1e6:.2f} M parameters",
            "Bands": ", ".join(spec.data.bands),
        }
        | ({} if data.scaling is None else {"Values": describe_scaling(data.scaling)})
        | ({} if data.size_range_m is None else {"Pixels": "{:g} to {:g} m".format(*data.size_range_m)})
        | ({spec.branch.title: spec.branch.describe()} if spec.branch.levels else {})
        | {
            name: f"{number_of(side.images, 'image')}, {side.amount} labelled"
            for name, side in sides.items()
            if side.images
        }
        | _unlabelled_facts(run)
        | _test_facts(result)
        | {
            "Epoch kept": result.epoch_rule,
            "Time": f"{result.seconds / 60:,.1f} min on {result.device} ({result.precision})",
            "Made by": f"geoseg {__version__}, torch {torch.__version__}",
        }
    )
