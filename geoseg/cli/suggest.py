"""geoseg suggest SCENE... -m MODEL -o PLACES.gpkg."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import check_model
from geoseg.cli.options import (
    Command,
    asset_option,
    config_option,
    given,
    json_option,
    overwrite_option,
    quiet_option,
    scene_model_option,
)
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, table, terminal_reporter
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of
from geoseg.spec import SuggestSpec

if TYPE_CHECKING:
    from geoseg.commands.suggest import SuggestResult

_EXCLUDE = (
    "What is labelled already and need not be labelled again: polygons, points (with a class) and lines in any vector "
    "format and CRS, a file of places (those that are done), or a raster of labels; may be given several times."
)
_RESUME = "Go on where a run with the same scenes, model and settings was stopped."
_SHOWN = 10
"""Places that are listed."""


@click.command(cls=Command)
@click.argument("scenes", nargs=-1, required=True, metavar="SCENE...", type=FilePath())
@scene_model_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Result: a GeoPackage (.gpkg) with the layers places and labels.",
)
@spec_options(SuggestSpec, SuggestSpec.offered())
@click.option("--exclude", multiple=True, metavar="FILE", type=FilePath(path_type=Path), help=_EXCLUDE)
@config_option
@asset_option
@click.option("--resume", is_flag=True, help=_RESUME)
@overwrite_option
@json_option
@quiet_option
def suggest(scenes: tuple[str, ...], output: Path, as_json: bool, quiet: bool, **options: Any) -> None:
    """Find places in scenes that are worth labelling next, with a model's guess of their labels to be corrected.

    Windows of the scenes are ranked by the model's uncertainty, and chosen so that they differ in their classes and lie
    apart. Correct the polygons of the layer labels in QGIS, tick done in the layer places, and train with the file as
    the labels of the scenes: only places that are done are learnt from.
    """
    settings = given(options)
    early = {name: value for name, value in settings.items() if name not in ("model", "exclude", "asset")}
    _check_early(output, settings.get("model"), early)
    from geoseg.commands.suggest import suggest as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(scenes, output, reporter=reporter, **settings)
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result, scenes, settings.get("model")))


def _check_early(output: Path, model: str | None, settings: dict[str, Any]) -> None:
    """Check the settings, the output and the model before PyTorch is imported."""
    from geoseg.outputs.places import check_places_file
    from geoseg.spec import parse_spec, split_existing

    existing, rest = split_existing(settings)
    parse_spec(SuggestSpec, rest, source="settings")
    check_places_file(output, existing.overwrite)
    check_model(model)


def _summary(result: SuggestResult, scenes: tuple[str, ...], model: str | None) -> str:
    places = result.places
    rows: list[tuple[str, ...]] = [("place", "uncertainty", "scene")]
    rows += [(f"{rank}", f"{p.uncertainty:.3f}", p.scene) for rank, p in enumerate(places[:_SHOWN], 1)]
    more = f"\n  and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    where = shlex.quote(scenes[0]) if len(scenes) == 1 else "FOLDER"
    file = shlex.quote(str(result.output))
    return (
        f"{table(rows)}{more}\n"
        f"{number_of(len(places), 'place')} of {number_of(result.windows, 'window')}, whose mean uncertainty is "
        f"{result.mean_uncertainty:.3f}; {number_of(result.labels, 'polygon')} in {result.seconds:,.1f} s with "
        f"{result.model}\n  {result.output}\n"
        "open it in QGIS, correct class and shape of the polygons, tick done for each place that is right; then give "
        f"it as the label of {where} beside the labels you have (data.tiles, data.scenes), or learn from it alone:\n"
        f"  geoseg init {where} {file} --init-from {shlex.quote(model or 'default')} -o next.yaml\n"
        "  geoseg train next.yaml -o next"
    )
