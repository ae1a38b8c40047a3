"""geoseg soup RUN|MODEL... -o OUT.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import read_train_config
from geoseg.cli.options import Command, bundle_option, given, json_option, overwrite_option, quiet_option, tiles_option
from geoseg.cli.scores_text import score, scores_text
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, table, terminal_reporter
from geoseg.cli.value_types import FilePath, PathOrWord
from geoseg.core.wording import number_of
from geoseg.spec import ScoringSpec

if TYPE_CHECKING:
    from geoseg.commands.soup import SoupResult


@click.command(cls=Command)
@click.argument("models", metavar="RUN|MODEL...", nargs=-1, required=True, type=PathOrWord("default"))
@bundle_option
@click.option(
    "--data",
    "config",
    type=FilePath(path_type=Path),
    metavar="CONFIG.yaml",
    help="Training config on whose validation rasters soup and models are scored; the soup's scores go on its card.",
)
@tiles_option
@spec_options(ScoringSpec, ["device"])
@overwrite_option
@json_option
@quiet_option
def soup(
    models: tuple[str, ...],
    output: Path,
    config: Path | None,
    tiles: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Make one model of several: the mean of their weights.

    Each is a model file, `default`, or the folder of a run. All have one network, bands, normalisation and classes, and
    were trained from the same weights (init_from), with other seeds or settings: else their mean is no model. It costs
    what one of them costs, and is often better than the best of them (Wortsman et al. 2022).
    """
    from geoseg.commands.bundle_path import check_bundle_path
    from geoseg.commands.soup_members import find_members

    find_members(models)
    check_bundle_path(output, overwrite=bool(options["overwrite"]))
    if config is not None:
        read_train_config(config, tiles)
    from geoseg.commands.soup import soup as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(models, output, config=config, data=tiles, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: SoupResult) -> str:
    miou = map(score, result.member_miou) if result.member_miou else [""] * len(result.members)
    heading = "model", "alike", "mIoU" if result.member_miou else ""
    rows = [(name, f"{share:.0%}", one) for name, share, one in zip(result.members, result.alike, miou, strict=True)]
    sides = {"validation": result.scores, "test": result.test_scores}
    scored = [f"soup, {side}: {scores_text(scores)}" for side, scores in sides.items() if scores is not None]
    return "\n".join(
        (
            table([heading, *rows]),
            *(scored or ["not scored: give --data CONFIG.yaml, or take geoseg evaluate"]),
            f"mean of the weights of {number_of(len(rows), 'model')}",
            f"  {result.bundle}",
        )
    )
