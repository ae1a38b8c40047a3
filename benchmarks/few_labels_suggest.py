"""Where to label next: windows that `geoseg suggest` asks for against windows drawn at random, on NAIP Ohio.

    python benchmarks/few_labels_suggest.py study FOLDER --tiles NAIP_OHIO/split.csv   # says how long it takes
    python benchmarks/few_labels_suggest.py table FOLDER

The training tiles are a pool of windows of 128 pixels without labels. Sixteen drawn at random are labelled first, the
same for all arms of a seed; then, round by round, the sixteen that an arm asks for. After each round a network is
trained from scratch on what is labelled, with equally many steps, and scored on the validation tiles. The study keeps
what is done in FOLDER, and goes on where it was stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from few_label_runs.pool import Pool
from few_label_runs.rounds import ARMS, SETTINGS, Rounds
from few_label_runs.rounds import table as lines
from few_label_runs.study import open_study

from geoseg.core.errors import GeosegError

SIDE = 128
"""Side of a window in pixels."""


def open_rounds(folder: Path, tiles: Path) -> Rounds:
    """The study in a folder, with the network and the schedule of the study of few labels, and fewer steps."""
    return Rounds(folder, Pool.of(tiles, SIDE), {**open_study(folder, tiles).base, **SETTINGS})


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tiles", required=True, type=click.Path(path_type=Path), help="CSV of the labelled tiles.")
@click.option("--only", multiple=True, type=click.Choice(ARMS), help="Arms; default: all.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each arm.")
@click.option("--threads", default=1, show_default=True, help="Threads.")
@click.option("--most", type=int, help="Rounds at most; default: all that are left.")
def study(folder: Path, tiles: Path, only: tuple[str, ...], seeds: int, threads: int, most: int | None) -> None:
    """Do the rounds that are not done yet."""
    torch.set_num_threads(threads)
    found = open_rounds(folder, tiles.resolve())
    rounds = found.left(seeds, only)
    click.echo(f"{len(rounds)} rounds, about {found.estimate(rounds) / 60:,.0f} minutes of one core")
    for one in rounds[:most]:
        try:
            done = found.run(one)
        except GeosegError as error:
            click.echo(f"{one.key}: {error}", err=True)
            sys.exit(1)
        click.echo(f"{one.key:<24} {done['windows']:4d} windows  mIoU {done['miou']:.3f}  {done['run_s']:.0f} s")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def table(folder: Path) -> None:
    """Print what is done, as a table for README.md."""
    click.echo("\n".join(lines(open_rounds(folder, Path("/dev/null")).results)))


if __name__ == "__main__":
    main()
