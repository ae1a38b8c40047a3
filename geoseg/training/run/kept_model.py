"""The model that a finished run keeps: its scores, the rule by which its epoch was chosen, and its card.

In: a run that has ended. Out: scores of the saved bundle on the validation and on the test side, as `geoseg evaluate`
finds them, and the same bundle with these on its card. The test side is read here for the first time, and once.
"""

from __future__ import annotations

from dataclasses import replace

from geoseg.core.errors import GeosegError, LabelError
from geoseg.core.events import Reporter
from geoseg.core.files import workspace
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.calibration.counter import CalibrationCounter
from geoseg.metrics.calibration.temperature import FittedTemperature
from geoseg.metrics.unit_counts import save_counts
from geoseg.models.bundle import load_model, save_model
from geoseg.models.model import Model
from geoseg.spec import EvaluateSpec, ScoringSpec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import ReadTest
from geoseg.training.run.build import Run
from geoseg.training.run.card import KeptScores, card_with, epoch_rule
from geoseg.training.run.fit_int8 import Sides, fit_int8
from geoseg.training.run.fit_seams import fit_seams
from geoseg.training.run.training_imagery import learn_imagery
from geoseg.training.scoring.side_scores import SideCounts, count_side, fit_temperature, lay_side


def score_kept(run: Run, reporter: Reporter) -> KeptScores:
    """Fit the temperature of the saved bundle on the validation side, score it there and on the test side, describe its
    training imagery, and write all of it into the bundle.

    Raises:
        LabelError: if no epoch was scored, or the test side holds no labels.
        SceneError: if a test image cannot be read. The run can then be resumed: it goes on with the test.
    """
    model, val, calibration = load_model(run.folder.bundle), scored_in_training(run).val, dict[str, Calibration]()
    if run.data.val.images:
        with workspace(run.folder.path / "scores") as scratch:
            model = fit_int8(model, Sides(run.data.train, run.data.val), scratch, reporter)
        model = fit_seams(model, run.data.val, str(run.hardware.device), reporter)
        model = _calibrated(run, model, reporter)
        counts, calibration["val"] = _count(run, model, run.data.val, reporter)
        val = counts.scores()
        if run.spec.data.split.folds is not None:  # for the intervals of all folds together
            save_counts(counts.counts, run.folder.unit_counts)
    kept = KeptScores(val, calibration=calibration)
    if run.data.read_test is not None and run.spec.data.split.folds is None:
        side = _read_test(run, run.data.read_test, reporter)
        counts, calibration["test"] = _count(run, model, side, reporter)
        kept = KeptScores(val, counts.scores(), side.images, side.polygons, calibration)
    training = run.recorder.provenance | {"best_epoch": run.recorder.best_epoch, "seconds": round(run.recorder.seconds)}
    rule = epoch_rule(run.spec.data.split, run.recorder.best_epoch, run.recorder.epochs, run.spec.swa_epochs)
    card = card_with(run.spec.card, kept, rule, training)
    sides = (run.data.train, run.data.unlabelled) if run.spec.data.target else (run.data.train,)
    imagery = learn_imagery(model, sides, run.data.sizes_m, str(run.hardware.device), reporter)
    spec = model.spec.model_copy(update={"card": card, "imagery": imagery})
    save_model(model.module, spec, run.folder.bundle, half=True, ranges=model.ranges)
    return kept


def _read_test(run: Run, read: ReadTest, reporter: Reporter) -> SplitSide:
    """Read the test side; where that fails, say that the model is there, and how to go on."""
    try:
        return read(reporter)
    except GeosegError as error:
        raise type(error)(
            f"{error}; the model is trained, and lies in {run.folder.bundle}: the same command with --resume goes on "
            "with its test"
        ) from None


def scored_in_training(run: Run) -> KeptScores:
    """The scores of the kept epoch as training has counted them.

    Raises:
        LabelError: if no epoch was scored.
    """
    if run.recorder.best is None:
        raise LabelError("no epoch was scored: label some validation rasters")
    return KeptScores(run.recorder.best)


def as_evaluated(run: Run) -> EvaluateSpec:
    """The settings of `geoseg evaluate`, on the device of a run."""
    return EvaluateSpec(scoring=ScoringSpec(device=str(run.hardware.device)))


def _calibrated(run: Run, model: Model, reporter: Reporter) -> Model:
    """The model with the temperature that fits the labels of the validation side."""
    side = run.data.val
    with workspace(run.folder.path / "scores") as scratch:
        scored = lay_side(model, side, run.spec, as_evaluated(run), scratch)
        fitted = fit_temperature(scored, int(side.class_counts.sum()), reporter)
    if fitted.is_bounded:
        reporter.notice(at_an_end(fitted))
    return replace(model, spec=model.spec.model_copy(update={"temperature": fitted.value}))


def at_an_end(fitted: FittedTemperature) -> str:
    """What it means that the temperature is an end of what is considered."""
    end, beyond, network = (
        ("lowest", "lower", "less sure than it is right")
        if fitted.value < 1
        else ("highest", "higher", "far too sure where it is wrong")
    )
    return (
        f"the temperature {fitted.value:g} is the {end} that is considered, and a {beyond} one would fit the "
        f"validation pixels better: the network is {network}, and confidences may be off"
    )


def _count(run: Run, model: Model, side: SplitSide, reporter: Reporter) -> tuple[SideCounts, Calibration]:
    """Pixel counts of a side, and how well the probabilities fit its labels."""
    wanted, counter = as_evaluated(run), CalibrationCounter(len(run.spec.classes), model.spec.temperature)
    with workspace(run.folder.path / "scores") as scratch:
        scored = lay_side(model, side, run.spec, wanted, scratch)
        counts = count_side(scored, run.spec, wanted, reporter, (counter,))
    return counts, counter.calibration([c.name for c in run.spec.classes])
