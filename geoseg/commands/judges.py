"""The models of an evaluation, and the labels that each is scored on.

In: a bundle and a training config, or the folder of a cross-validation. Out: one model on one side of the split; or the
model of every fold, each on the labels that it did not learn, so that together they judge all labels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.core.errors import LabelError, SpecError
from geoseg.core.events import Reporter
from geoseg.data.listing import list_rasters
from geoseg.inference.fit import misfit_lines, resolution_misfit, statistics_misfit
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.calibration.counter import CalibrationCounter
from geoseg.metrics.scores import Scores
from geoseg.models.bundle import load_model
from geoseg.models.header import existing_model
from geoseg.models.model import Model
from geoseg.spec import ClassifySpec, EvaluateSpec, NormalizationSpec, SplitSpec, TrainSpec, load_train_spec
from geoseg.training.data.config_for_model import config_for_model
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.run.settings import Config, resolve_settings
from geoseg.training.scoring.probability_maps import ProbabilityMap, ProbabilityMaps
from geoseg.training.scoring.scored_model import ScoredModel
from geoseg.training.scoring.side_scores import count_side, lay_side

ModelPath = str | os.PathLike[str] | Model | None
"""A model, a bundle, the folder of a run, or None for the model that comes with geoseg."""


@dataclass(frozen=True)
class Judge:
    """A model, and the labels that it is scored on."""

    model: Model
    """The model."""
    spec: TrainSpec
    """The config that names the labelled rasters, with the model's bands and classes."""
    side: SplitSide
    """The labelled rasters."""
    normalization: NormalizationSpec
    """Mean and standard deviation of their band values."""
    resolution_m: float | None
    """Their ground resolution, if it is known."""

    def misfits(self, settings: ClassifySpec, scored: ScoredModel) -> list[str]:
        """In what images differ from what the model knows. None are refused: the scores show what that does."""
        is_changed = settings.given_rescale is not None or scored.notices
        of_values = None if is_changed else statistics_misfit(self.normalization, self.model.spec)
        of_resolution = resolution_misfit(self.resolution_m, self.model.spec, settings.resolution)
        return misfit_lines([of_resolution, of_values], is_forced=True)


def one_judge(
    model: ModelPath, config: Config, data: str | os.PathLike[str] | None, wanted: EvaluateSpec, reporter: Reporter
) -> Judge:
    """A model on the side of a config's split that the settings name.

    Raises:
        GeosegError: as `evaluate_model`.
    """
    loaded = model if isinstance(model, Model) else load_model(model)
    split = wanted.scoring.split
    spec = config_for_model(resolve_settings(config, data, {}), loaded.spec, wanted.classify, split)
    read = read_training_data(spec, only=split, scaling=loaded.spec.scaling, reporter=reporter)
    return Judge(loaded, spec, read.side(split, reporter), read.normalization, read.resolution_m)


# ------------------------------------------------------------------------------------------------------------- folds


def folds_in(model: ModelPath) -> int:
    """Number of folds of a cross-validation, if that is the folder of one with the models of all folds; else 0."""
    folder = None if model is None or isinstance(model, Model) else Path(model)
    if folder is None or not (folder / "fold_1" / "config.yaml").is_file():
        return 0
    try:
        folds = load_train_spec(folder / "config.yaml").data.split.folds or 0
    except SpecError:
        return 0
    return folds if all(any(one.glob("*.safetensors")) for one in _folders(folder, folds)) else 0


def _folders(folder: Path, folds: int) -> list[Path]:
    return [folder / f"fold_{number}" for number in range(1, folds + 1)]


def fold_judges(
    folder: Path,
    config: Config | None,
    data: str | os.PathLike[str] | None,
    wanted: EvaluateSpec,
    reporter: Reporter,
) -> Iterator[Judge]:
    """The model of each fold of a cross-validation, on the labels that it did not learn.

    Args:
        folder: the folder of the cross-validation.
        config: names the labelled rasters; None takes the run's own config.
        data: CSV of labelled rasters, instead of the config's data.
        wanted: how the models classify.
        reporter: gets notices.

    Raises:
        SpecError: if another side than that of validation is wanted.
        LabelError: if the labels are not those that the folds were dealt from.
        GeosegError: as `evaluate_model`.
    """
    if wanted.scoring.split != "val":
        raise SpecError(
            f"split = {wanted.scoring.split!r}: each label is judged by the model of {folder} that did not learn it: "
            "leave split out, or give the path of a bundle"
        )
    of_run = load_train_spec(folder / "config.yaml")
    for number, path in enumerate(_folders(folder, of_run.data.split.folds or 0), 1):
        model = load_model(existing_model(path))
        given = resolve_settings(of_run if config is None else config, data, {})
        split = SplitSpec.model_validate(of_run.data.split.model_dump() | {"fold": number})
        spec = given.model_copy(update={"data": given.data.model_copy(update={"split": split})})
        spec = config_for_model(spec, model.spec, wanted.classify)
        read = read_training_data(spec, only="val", scaling=model.spec.scaling, reporter=reporter)
        _check_dealt(read, model.spec.card.training, path)
        yield Judge(model, spec, read.val, read.normalization, read.resolution_m)


def _check_dealt(read: TrainingData, training: dict[str, Any], fold: Path) -> None:
    """Make sure that the folds are dealt as in training: what a fold learnt has the size that its card says.

    Raises:
        LabelError: if it has another one.
    """
    found = {
        "train_images": read.train.images,
        "train_pixels": int(read.train.class_counts.sum()),
        "val_images": read.val.images,
    }
    if any(training.get(name) != value for name, value in found.items()):
        raise LabelError(
            f"the model of {fold} learnt other labels than these: images, labels or corrections have changed since, so "
            "that it is not known which it did not learn: train the folds anew, or give the path of a bundle and a "
            "config with labels that it did not learn"
        )


def count_images(judges: list[Judge]) -> int:
    """Number of images with labels that are scored; one that several folds share counts once."""
    scored = sum(judge.side.images for judge in judges)
    return scored if len(judges) == 1 else min(scored, len(list_rasters(judges[0].spec.data)))


@dataclass(frozen=True)
class ScoredPart:
    """A model whose windows are laid over the labels that it is scored on."""

    judge: Judge
    """The model and its labels."""
    scored: ScoredModel
    """Its windows."""
    kept: ProbabilityMaps | None
    """Where its probabilities are kept while it is scored; None if they are not wanted."""
    counter: CalibrationCounter
    """Counts its probabilities while it is scored."""

    @property
    def maps(self) -> Sequence[ProbabilityMap]:
        """Its probabilities, if they are kept."""
        return () if self.kept is None else self.kept.maps

    def calibration(self) -> Calibration:
        """How well its probabilities fit the labels, once it is scored."""
        return self.counter.calibration([c.name for c in self.judge.spec.classes])


def lay_part(judge: Judge, wanted: EvaluateSpec, folder: Path, reporter: Reporter) -> ScoredPart:
    """Lay a model's windows over its labels; scratch files go into a folder, notices to a reporter.

    Raises:
        SpecError: if a setting does not go with the model or the rasters, or this machine has no such device.
    """
    model = judge.model.spec
    kept = None
    if wanted.label_errors.suspects is not None:
        kept = ProbabilityMaps(judge.side.rasters, len(model.classes), folder)
    scored = lay_side(judge.model, judge.side, judge.spec, wanted, folder)
    for line in (*judge.misfits(wanted.classify, scored), *scored.notices, *scored.adaptation):
        reporter.notice(line)
    return ScoredPart(judge, scored, kept, CalibrationCounter(len(model.classes), model.temperature))


def score_part(part: ScoredPart, wanted: EvaluateSpec, reporter: Reporter) -> Scores:
    """Score a model on its labels.

    Raises:
        LabelError: if nothing is labelled in the area of interest.
    """
    kept = () if part.kept is None else (part.kept,)
    return count_side(part.scored, part.judge.spec, wanted, reporter, (part.counter,), kept).scores()
