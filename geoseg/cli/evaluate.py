"""geoseg evaluate PREDICTION.tif --labels LABELS, geoseg evaluate --model MODEL --data CONFIG.yaml, and
geoseg evaluate --leave-out COLUMN --data CONFIG.yaml -o FOLDER."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from geoseg.cli.early_checks import check_model, check_predicted, read_train_config
from geoseg.cli.options import Command, json_option, overwrite_option, quiet_option, tiles_option
from geoseg.cli.scores_text import regions_text, scores_text
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import notice, show, show_json, terminal_reporter
from geoseg.cli.training_progress import training_reporter
from geoseg.cli.value_types import FilePath, KnownText, PathOrWord
from geoseg.core.errors import SpecError
from geoseg.core.events import Reporter
from geoseg.core.wording import number_of
from geoseg.spec import ComparisonSpec, EvaluateSpec
from geoseg.spec.evaluate import BlocksSpec

if TYPE_CHECKING:
    from geoseg.commands.evaluate import EvaluateResult
    from geoseg.commands.evaluate_model import ModelEvaluation
    from geoseg.metrics.scores import Scores

    Result = EvaluateResult | ModelEvaluation

FOR_PREDICTIONS = ("labels", "column", "layer", "buffer_px", "legend", "outside", "extent", "corrections")
"""Options that only a prediction takes; the first is needed."""
FOR_BOTH = {"boundary_px", *BlocksSpec.settings()}
"""Options that a prediction and a model take, of those by which a model is evaluated."""
FOR_MODELS = ("data", "tiles", "report", "overwrite", *EvaluateSpec.settings())
"""Options that a model takes; the first is needed."""
FOR_REGIONS = ("data", "output", "resume", "overwrite", "device")
"""Options that regions that are left out take; the first two are needed."""


class Floor(NamedTuple):
    """The least allowed value of a score."""

    name: str
    """A metric over all classes, e.g. miou, or one of a class, e.g. iou.water."""
    least: float
    """From -1 to 1."""


def _floors() -> list[str]:
    """How the values of --fail-under begin: a score over all classes with its equal sign, one by class with its dot."""
    from geoseg.metrics.metric import METRICS

    return [f"{name}{'.' if METRICS.get(name).by_class else '='}" for name in METRICS]


@click.command(cls=Command)
@click.argument("prediction", metavar="[PREDICTION.tif]", required=False, type=FilePath())
@click.option(
    "--labels",
    type=FilePath(),
    metavar="PATH",
    help="Labels of the same area: a raster of class ids on the prediction's grid, or polygons in any CRS "
    "(.gpkg, .geojson, .shp, .fgb, .parquet).",
)
@spec_options(ComparisonSpec, [name for name in ComparisonSpec.settings() if name not in FOR_BOTH])
@click.option(
    "-m",
    "--model",
    type=PathOrWord("default"),
    metavar="PATH",
    help="Score this model (.safetensors, a run's folder, hf://OWNER/NAME, https://..., or `default` for the one that "
    "comes with geoseg), not a map.",
)
@click.option(
    "--data",
    type=FilePath(path_type=Path),
    metavar="CONFIG.yaml",
    help="Training config that names the labelled rasters on which a model is scored.",
)
@tiles_option
@click.option(
    "--leave-out",
    metavar="COLUMN",
    help="For each value of a column of the config's CSV, e.g. region, train a model on all others and score it there: "
    "what to expect in regions that nobody has labelled.",
)
@click.option(
    "-o",
    "--output",
    type=FilePath(path_type=Path),
    metavar="FOLDER",
    help="With --leave-out: folder for regions.json, report.html and the run of each region.",
)
@click.option("--resume", is_flag=True, help="With --leave-out: go on in the output folder where it was interrupted.")
@spec_options(EvaluateSpec)
@click.option(
    "--report",
    type=FilePath(path_type=Path),
    metavar="FILE.html",
    help="Also write a report with the windows where the model is worst and best.",
)
@click.option(
    "--fail-under",
    "floors",
    type=KnownText(_floors),
    multiple=True,
    metavar="SCORE=VALUE",
    help="Exit with code 1 if a score is below a value, e.g. miou=0.6 or iou.water=0.8; may be repeated. "
    "Scores are named as with --json, e.g. kappa or boundary_miou; that of a class is iou.CLASS, f1.CLASS, ...",
)
@overwrite_option
@json_option
@quiet_option
def evaluate(
    prediction: str | None,
    model: str | None,
    floors: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Score a class raster against labels, a model on the labelled rasters of a training config, or a config in regions
    that its models have not seen.

    Scores are IoU, F1, precision (user's accuracy), recall (producer's accuracy) and kappa, and how well boundaries
    are met. Of a PREDICTION.tif with its --labels, only
    pixels with both count. A --model with the --data of a training config is scored as training scores it: on the
    validation side, in the windows in which it sees a scene. With --leave-out, the config's --data trains a model for
    each region, which learns from the others and is scored there; --fail-under is then for every region.
    """
    flags = {"overwrite", "resume"}
    given = {name: value for name, value in options.items() if value is not None and (value or name not in flags)}
    _check_usage(prediction, model, given)
    wanted = [parse_floor(text) for text in floors]
    if "leave_out" in given:
        _leave_out(given, wanted, as_json, quiet)
        return
    with terminal_reporter(quiet or as_json) as reporter:
        if prediction is not None:
            result, coverage = _of_prediction(prediction, given, reporter)
        else:
            result, coverage = _of_model(model, given, reporter)
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(f"{scores_text(result.scores)}\n{coverage}")
    _enforce(wanted, [("", result.scores)])


def _check_usage(prediction: str | None, model: str | None, given: Mapping[str, Any]) -> None:
    """Refuse options that don't belong together, as wrong usage (exit code 2)."""
    leaves_out = "leave_out" in given
    if [prediction is not None, model is not None, leaves_out].count(True) != 1:
        raise click.UsageError(
            "give either a PREDICTION.tif with its --labels, or a --model with its --data, or --leave-out with --data"
        )
    subject: str
    taken: set[str]
    needed: tuple[str, ...]
    if leaves_out:
        subject, taken, needed = "--leave-out", {*FOR_REGIONS, "leave_out"}, ("data", "output")
    elif model is not None:
        has_folds = "suspects" in given and Path(model).is_dir()
        subject, taken, needed = "a --model", {*FOR_MODELS}, () if has_folds else ("data",)
    else:
        subject, taken, needed = "a PREDICTION.tif", {*FOR_PREDICTIONS, *FOR_BOTH}, ("labels",)
    if stray := next((name for name in given if name not in taken), None):
        sign = "no-" if given[stray] is False else ""
        raise click.UsageError(f"--{sign}{stray.replace('_', '-')} does not go with {subject}")
    if lacking := next((name for name in needed if name not in given), None):
        raise click.UsageError(f"{subject} needs its --{lacking}")


def _of_prediction(prediction: str, settings: dict[str, Any], reporter: Reporter) -> tuple[Result, str]:
    """Score a class raster; return the result, and a line on what was scored."""
    check_predicted(prediction)
    from geoseg.commands.evaluate import evaluate as run

    result = run(prediction, settings.pop("labels"), reporter=reporter, **settings)
    share = result.unpredicted
    without = f", {share:.2%} of the labelled ones have no prediction" if share else ""
    return result, f"{result.scores.pixels:,} pixels{without}, {result.seconds:.1f} s"


def _of_model(model: str | None, settings: dict[str, Any], reporter: Reporter) -> tuple[Result, str]:
    """Score a model; return the result, and what was scored and where the report is."""
    check_model(model)
    if "data" in settings:
        read_train_config(settings["data"], settings.get("tiles"), settings.get("split"))
    from geoseg.commands.evaluate_model import evaluate_model as run
    from geoseg.metrics.calibration.calibration import calibration_line

    config, tiles = settings.pop("data", None), settings.pop("tiles", None)
    result = run(model, config, data=tiles, reporter=reporter, **settings)
    line = (
        f"{number_of(result.scores.pixels, 'pixel')} of {number_of(result.images, 'image')} "
        f"in {number_of(result.windows, 'window')}, "
        f"{result.seconds:.1f} s on {result.device} ({result.precision})"
    )
    written = [f"  {path}" for path in (result.report, result.suspects) if path is not None]
    fit = [] if result.calibration is None else [calibration_line(result.calibration)]
    return result, "\n".join([*fit, line, *written])


def _leave_out(given: dict[str, Any], wanted: Sequence[Floor], as_json: bool, quiet: bool) -> None:
    """Train a model for each region on the others, and show its scores there."""
    config, column = given.pop("data"), given.pop("leave_out")
    read_train_config(config)
    from geoseg.commands.leave_out import leave_out as run

    try:
        with training_reporter(quiet or as_json) as reporter:
            result = run(config, column, reporter=reporter, **given)
    except KeyboardInterrupt:
        if not quiet:
            notice("the same command with --resume goes on with these runs")
        raise
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show("\n".join((regions_text(result.found), f"  {result.file}", f"  {result.report}")))
    _enforce(wanted, [(f"{one.region}: ", one.scores) for one in result.found.regions])


# ------------------------------------------------------------------------------------------------------------ floors


def parse_floor(text: str) -> Floor:
    """Read SCORE=VALUE.

    Raises:
        SpecError: if it is not of that shape, or no score has that name.
    """
    name, _, value = text.rpartition("=")  # the last one: a class may have = in its name
    name = _today(name.strip())
    _check_name(name, text)
    try:
        least = float(value)
    except ValueError:
        least = math.nan
    if not -1 <= least <= 1:
        raise SpecError(f"--fail-under {text}: {value.strip() or 'nothing'} is no number from -1 to 1, e.g. {name}=0.6")
    return Floor(name, least)


def _today(name: str) -> str:
    """The name of a score, for one that is written in capitals, or that geoseg 0.1 called otherwise."""
    from geoseg.metrics.metric import FORMER_NAMES, METRICS

    metric, dot, class_name = name.partition(".")
    metric = metric if metric in METRICS else metric.lower()
    return f"{FORMER_NAMES.get(metric, metric)}{dot}{class_name}"


def _check_name(name: str, text: str) -> None:
    """Refuse names of no score: a metric over all classes stands alone, one by class has a class."""
    from geoseg.metrics.metric import METRICS

    metric, dot, class_name = name.partition(".")
    if metric not in METRICS or (dot and not class_name):
        raise SpecError(f"--fail-under {text}: write SCORE=VALUE with one of {', '.join(METRICS)}, by class iou.CLASS")
    if METRICS.get(metric).by_class and not class_name:
        raise SpecError(f"--fail-under {text}: {metric} is a score by class, write SCORE=VALUE with {metric}.CLASS")
    if class_name and not METRICS.get(metric).by_class:
        raise SpecError(f"--fail-under {text}: {metric} is a score over all classes, write SCORE=VALUE with {metric}")


def shortfall(floor: Floor, scores: Scores) -> str | None:
    """A line on a score below its floor, or without a value; None for a score that reaches it.

    Raises:
        SpecError: if the floor is of an unknown class.
    """
    value = _value_of(floor.name, scores)
    if value is None:
        return f"{floor.name} has no value, {floor.least:g} is asked for"
    if value >= floor.least:
        return None
    texts = (f"{value:.{digits}f}" for digits in range(4, 18))
    shown = next((text for text in texts if float(text) < floor.least), repr(value))  # 0.6000 is not below 0.6
    return f"{floor.name} {shown} is below {floor.least:g}"


def _value_of(name: str, scores: Scores) -> float | None:
    metric, _, class_name = name.partition(".")
    if not class_name:
        return scores.overall[metric]
    if class_name not in scores.by_class[metric]:
        raise SpecError(f"--fail-under {name}: no such class; there are {', '.join(scores.by_class[metric])}")
    return scores.by_class[metric][class_name]


def _enforce(floors: Sequence[Floor], scored: Sequence[tuple[str, Scores]]) -> None:
    """Exit with code 1 if any of some scores, each with how its lines begin, is below a floor."""
    found = [(subject, shortfall(floor, scores)) for subject, scores in scored for floor in floors]
    lines = [f"{subject}{line}" for subject, line in found if line is not None]
    for line in lines:
        notice(line)
    if lines:
        sys.exit(1)
