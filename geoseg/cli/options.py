"""The class of commands, options that commands share, and options from a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from geoseg.cli.value_types import FilePath, Numbers, PathOrWord, Texts
from geoseg.core.errors import SpecError, did_you_mean, shown

F = TypeVar("F", bound=Callable[..., Any])
LONGEST_VALUE = 4096
"""Characters of the longest value of an option in a file; no path is longer."""


class Command(click.Command):
    """A command that refuses what click would silently take: of an option that is given twice, unless it is multiple,
    the last; and for the value of an option the option behind it.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        if not ctx.resilient_parsing:
            values, _, order = self.make_parser(ctx).parse_args(args=list(args))
            _check_once(order, ctx)
            _check_values(values, order, ctx)
        return super().parse_args(ctx, args)


def _check_once(order: Sequence[click.Parameter], ctx: click.Context) -> None:
    """Refuse an option that is given twice.

    Raises:
        UsageError: naming it.
    """
    for option, count in Counter(order).items():
        if not isinstance(option, click.Option) or count == 1 or option.multiple or option.count:
            continue
        if option.is_flag and not option.secondary_opts:  # said twice, it says the same
            continue
        names = "/".join(max(names, key=len) for names in (option.opts, option.secondary_opts) if names)
        raise click.UsageError(f"{names} is given {count} times: give it once", ctx)


def _check_values(values: Mapping[str, Any], order: Sequence[click.Parameter], ctx: click.Context) -> None:
    """Refuse an option in the place of another's value.

    Raises:
        UsageError: naming both.
    """
    known = {name for option in ctx.command.get_params(ctx) for name in (*option.opts, *option.secondary_opts)}
    for option in order:
        if not isinstance(option, click.Option) or option.is_flag or option.count:
            continue
        value = values[str(option.name)]
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and text.startswith("-") and (text.startswith("--") or text in known):
                raise click.UsageError(
                    f"{option.opts[-1]} wants a value, and {text} stands in its place: give one before {text} "
                    f"(a path that begins so: ./{text})",
                    ctx,
                )


def config_option(command: F) -> F:
    """--config FILE: defaults for the other options from YAML; flags win over it."""
    return click.option(
        "--config",
        type=FilePath(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="YAML file with these options, by their long names; flags win over it.",
    )(command)


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from geoseg.spec import load_yaml

    known = _options_by_long_name(ctx.command)
    defaults: dict[str, Any] = {}
    for name, value in load_yaml(path).items():
        if (key := str(name).replace("_", "-")) not in known:
            meant = did_you_mean(key, known)
            raise SpecError(f"{path}: unknown setting {shown(name)}{meant}; known here: {', '.join(sorted(known))}")
        option, switched_off = known[key]
        if option.name in defaults:
            raise SpecError(f"{path}: {name} says again what another line says: keep one")
        defaults[str(option.name)] = _as_typed(option, value, switched_off, f"{path}: {name} = {shown(value)}")
    ctx.default_map = {name: value for name, value in defaults.items() if value is not None}


def _as_typed(option: click.Option, value: Any, switched_off: bool, place: str) -> Any:
    """A value from a file as a word of the command line, which click parses; None for an empty value.

    Raises:
        SpecError: if it has no such form.
    """
    if value is None:
        return None
    if isinstance(value, list | dict) and not (isinstance(value, list) and isinstance(option.type, Numbers | Texts)):
        raise SpecError(f"{place}: give a single value")
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        raise SpecError(f"{place}: give at most {LONGEST_VALUE:,} characters")
    if not option.is_flag:
        return value if isinstance(value, list) else str(value)
    try:
        wanted = click.BOOL.convert(str(value), option, None)
    except click.BadParameter:
        raise SpecError(f"{place}: give true or false") from None
    return wanted != switched_off


def _options_by_long_name(command: click.Command) -> dict[str, tuple[click.Option, bool]]:
    """Options by their long names without dashes, and whether that name switches the option off."""
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in ("help", "config")]
    names = [(name, option, False) for option in options for name in option.opts]
    names += [(name, option, True) for option in options for name in option.secondary_opts]
    return {name[2:]: (option, off) for name, option, off in names if name.startswith("--")}


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given, as settings; lists that were not are empty."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


scene_model_option = click.option(
    "-m",
    "--model",
    type=PathOrWord("default"),
    metavar="PATH",
    help="Model bundle (.safetensors), ONNX model, a run's folder, or an address: hf://OWNER/NAME, "
    "hf://OWNER/NAME@REVISION/FILE, https://...#sha256=DIGEST; default: the model that comes with geoseg.",
)
asset_option = click.option(
    "--asset",
    metavar="KEY[,KEY...]",
    help="Which asset of STAC Items is the scene, or one per band (red,green,blue), also of products; default: "
    "the only raster, what is usual, or all bands.",
)
bundle_option = click.option(
    "-o",
    "--output",
    type=FilePath(path_type=Path),
    metavar="FILE",
    required=True,
    help="The bundle to write, NAME.safetensors; NAME becomes the model's name.",
)
tiles_option = click.option(
    "--tiles",
    type=FilePath(path_type=Path),
    metavar="CSV",
    help="List of labelled rasters (image,label,split), instead of the config's data.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results that exist.")
