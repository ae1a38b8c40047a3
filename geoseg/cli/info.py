"""geoseg info SCENE_OR_MODEL, and geoseg info --env."""

from __future__ import annotations

from typing import Any

import click

from geoseg.cli.options import Command, json_option
from geoseg.cli.terminal import show, show_json
from geoseg.cli.value_types import PathOrWord


@click.command(cls=Command)
@click.argument("path", metavar="[SCENE_OR_MODEL]", required=False, type=PathOrWord("default"))
@click.option(
    "-m",
    "--model",
    type=PathOrWord("default"),
    metavar="PATH",
    help="Model that a scene is held against; default: the one that comes with geoseg.",
)
@click.option(
    "--env",
    is_flag=True,
    help="Show versions, devices, GDAL's drivers, memory and settings from outside instead: what a report of a fault "
    "needs, without secrets.",
)
@json_option
def info(path: str | None, model: str | None, env: bool, as_json: bool) -> None:
    """Show what a scene, polygons or a model are to geoseg (`default`: the model that comes with it)."""
    if env == (path is not None) or (env and model is not None):
        raise click.UsageError("give either a SCENE_OR_MODEL or --env")
    description = _describe(path, model)
    show_json(description) if as_json else show("\n".join(_lines(_with_ranges(description))))


def _describe(path: str | None, model: str | None) -> dict[str, Any]:
    if path is None:
        from geoseg.commands.environment import describe_environment

        return describe_environment()
    from geoseg.commands.info import describe

    return describe(path, model)


def _with_ranges(description: dict[str, Any]) -> dict[str, Any]:
    """The description of a model with each score and its interval in one text, e.g. "0.737 (0.69 to 0.77)"."""
    card = description.get("card", {})
    sides = [side for side in ("scores", "test_scores") if (card.get(side) or {}).get("intervals")]
    scored = {side: _ranges(dict(card[side])) for side in sides}
    return description | {"card": card | scored} if scored else description


def _ranges(scores: dict[str, Any]) -> dict[str, Any]:
    """Scores as texts, and in place of the intervals a line on how these were found."""
    from geoseg.cli.scores_text import with_interval
    from geoseg.metrics.interval import ScoreIntervals

    found = ScoreIntervals.from_dict(scores.pop("intervals"))
    texts: dict[str, Any] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            texts[name] = {of: with_interval(one, found.find(name, of)) for of, one in value.items()}
        else:
            interval = found.find(name)
            texts[name] = value if interval is None else with_interval(value, interval)
    return texts | {"intervals": found.describe()}


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    """Write nested values as indented `name: value` lines."""
    lines: list[str] = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{indent}{name}:", *(f"{indent}  {_inline(item)}" for item in value)]
        elif name == "notices" and value:
            lines += [f"{indent}{name}:", *(f"{indent}  {line}" for line in value)]
        else:
            lines.append(f"{indent}{name}: {_plain(value)}")
    return lines


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_plain(value)}" for name, value in values.items() if value is not None)


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        separator = "; " if any(" " in str(item) for item in value) else ", "
        return separator.join(map(_plain, value)) or "none"
    if isinstance(value, float):
        return f"{value:.12g}"
    return "none" if value is None or value == {} else str(value)
