"""geoseg compare RUN|MODEL... --data CONFIG.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import read_train_config
from geoseg.cli.options import Command, given, json_option, overwrite_option, quiet_option, tiles_option
from geoseg.cli.scores_text import score
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, table, terminal_reporter
from geoseg.cli.value_types import FilePath, PathOrWord
from geoseg.core.wording import number_of
from geoseg.spec import CompareSpec

if TYPE_CHECKING:
    from geoseg.commands.compare import Comparison
    from geoseg.metrics.comparison import Difference, Estimate

OF_ALL = [name for name in CompareSpec.settings() if name not in ("bands", "nodata")]
"""Settings that hold for all models; the others say how one model reads a scene."""


@click.command(cls=Command)
@click.argument("models", metavar="RUN|MODEL...", nargs=-1, required=True, type=PathOrWord("default"))
@click.option(
    "--data",
    "config",
    type=FilePath(path_type=Path),
    metavar="CONFIG.yaml",
    required=True,
    help="Training config that names the labelled rasters, their classes, and all bands that the models take.",
)
@tiles_option
@click.option(
    "-o",
    "--output",
    type=FilePath(path_type=Path),
    metavar="FOLDER",
    help="Also write comparison.csv and comparison.html there.",
)
@spec_options(CompareSpec, OF_ALL)
@overwrite_option
@json_option
@quiet_option
def compare(
    models: tuple[str, ...], config: Path, tiles: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Compare models, or the models of training runs, on the same labelled pixels.

    Each is a model file, `default`, or the folder of a run, perhaps with settings of its own, so that what these
    change is measured: default default@tta=flips default@resolution=1.2,precision=bf16. Each takes its bands from the
    config's, and sees the images as it sees a scene. Scores and their differences from the best (or --baseline) have
    95 % intervals, by resampling blocks of the rasters: a difference whose interval excludes 0 is more than their
    choice explains.
    """
    from geoseg.commands.model_entries import find_entries

    find_entries(models)
    read_train_config(config, tiles, options.get("split"))
    from geoseg.commands.compare import compare as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(models, config, data=tiles, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: Comparison) -> str:
    """The tables, and what was compared."""
    mious = {one.name: (one.compared.miou, one.compared.miou_difference) for one in result.models}
    boundaries = {
        one.name: (one.compared.boundary_miou, one.compared.boundary_miou_difference) for one in result.models
    }
    names = [one.name for one in result.models]
    classes = [
        (
            name,
            *(
                score(one.compared.iou[name].value) + ("*" if one.compared.iou_difference[name].is_clear else " ")
                for one in result.models
            ),
        )
        for name in result.models[0].compared.iou
    ]
    level = f"{result.level:.0%}"
    lines = [
        _figures("mIoU", mious, result.baseline, level),
        *([_figures("boundary mIoU", boundaries, result.baseline, level)] if _is_known(boundaries) else []),
        table([("IoU", *(f"{name} " for name in names)), *classes]),
        f"{number_of(result.pixels, 'pixel')} of {number_of(result.images, 'image')}, the same for all; {level} "
        f"intervals by {result.draws:,} resamples of {number_of(result.units, 'unit')}, each {result.unit} (seed "
        f"{result.seed}); *: the interval of the difference from {result.baseline} excludes 0; {result.seconds:.1f} s",
    ]
    return "\n".join([*lines, *(f"  {path}" for path in (result.table, result.report) if path is not None)])


def _figures(title: str, found: Mapping[str, tuple[Estimate, Difference]], baseline: str, level: str) -> str:
    """The table of a figure: of each model, and how far it is from the baseline's."""
    rows = [
        (
            name,
            score(own.value),
            _range(own),
            *(("baseline", "", "") if name == baseline else _difference(less)),
        )
        for name, (own, less) in found.items()
    ]
    return table([("model", title, f"{level} interval", f"less {baseline}", f"{level} interval", "p"), *rows])


def _is_known(found: Mapping[str, tuple[Estimate, Difference]]) -> bool:
    return any(own.value is not None for own, _ in found.values())


def _range(one: Estimate) -> str:
    return "-" if one.interval is None else f"{one.interval.low:.4f} to {one.interval.high:.4f}"


def _difference(one: Difference) -> tuple[str, str, str]:
    """A difference and its interval, with signs, and p."""
    value = "-" if one.value is None else f"{one.value:+.4f}{'*' if one.is_clear else ' '}"
    ends = "-" if one.interval is None else f"{one.interval.low:+.4f} to {one.interval.high:+.4f}"
    return value, ends, "-" if one.p is None else p_text(one.p)


def p_text(p: float) -> str:
    """Write a p-value with three digits, or that it is below what they show."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
