"""Few and weak labels: what each training method gains on NAIP Ohio over the labels alone, by one small budget.

    python benchmarks/few_labels.py study FOLDER --tiles .../naip_ohio_6class/split.csv    # says how long it takes
    python benchmarks/few_labels.py table FOLDER
    python benchmarks/few_labels.py cost --tiles .../split.csv        # time of a step and memory of every method

An eighth or a quarter of the training tiles is labelled, the images of the others are not (`few_label_runs/arms.yaml`);
the tiles are drawn anew for each seed, the same for all arms. The study keeps what is done in FOLDER, and goes on where
it was stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from few_label_runs.study import open_study
from network_runs.training import run_all


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tiles", required=True, type=click.Path(path_type=Path), help="CSV of the labelled tiles.")
@click.option("--only", multiple=True, help="Words of which one is in the name of an arm; default: all.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each arm.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def study(folder: Path, tiles: Path, only: tuple[str, ...], seeds: int, threads: int) -> None:
    """Train what is not trained yet."""
    torch.set_num_threads(threads)
    found = open_study(folder, tiles.resolve())
    runs = found.left(seeds, only)
    click.echo(f"{len(runs)} runs, about {found.estimate(runs) / 60:,.0f} minutes of one core")
    sys.exit(not run_all(runs, found.run, click.echo))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def table(folder: Path) -> None:
    """Print what is trained, as a table for README.md."""
    from few_label_runs.table import table as lines

    found = open_study(folder, Path())
    click.echo("\n".join(lines(found.arms, found.results)))


@main.command()
@click.option("--tiles", required=True, type=click.Path(path_type=Path), help="CSV of the labelled tiles.")
@click.argument("factors", type=int, nargs=-1)
def coarse(tiles: Path, factors: tuple[int, ...]) -> None:
    """Score coarse labels themselves; 17 and 50 pixels of 0.6 m are 10 and 30 m."""
    from few_label_runs.coarse_score import coarse_miou

    classes = len(open_study(Path(), tiles).base["classes"])
    for factor in factors or (17, 50):
        click.echo(f"labels {factor} pixels wide: mIoU {coarse_miou(tiles, factor, classes):.3f}")


@main.command()
@click.option("--tiles", required=True, type=click.Path(path_type=Path), help="CSV of the labelled tiles.")
@click.option("--threads", default=1, show_default=True, help="Threads.")
def cost(tiles: Path, threads: int) -> None:
    """Time a few steps of every method, and take the memory of each."""
    from few_label_runs.cost import measure, methods

    click.echo(
        "| method | processor seconds of a step | of supervised training | peak memory, MiB |\n|---|---|---|---|"
    )
    first = 0.0
    for name in methods(open_study(Path(), tiles)):
        found = measure(name, tiles.resolve(), threads)
        first = first or found["step_s"]
        click.echo(f"| {name} | {found['step_s']:.3f} | {found['step_s'] / first:.1f} | {found['mib']:,.0f} |")


if __name__ == "__main__":
    main()
