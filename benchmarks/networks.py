"""Every network of geoseg at one small, equal budget: accuracy, training time, speed and memory. No leaderboard.

    python benchmarks/networks.py train FOLDER --tiles .../naip_ohio_6class/split.csv    # says how long it takes
    python benchmarks/networks.py speed FOLDER                                           # on a machine at rest
    python benchmarks/networks.py page FOLDER      # docs/networks.json, docs/pictures/networks.svg, docs/networks.md

`train` trains every network from random weights on the same windows of NAIP Ohio by one schedule, and the most used
ones with several seeds (`network_runs/networks.yaml`); its time is that of the processor, so that other programs
disturb it little. `speed` runs each network in a process of its own. Both keep what is done in FOLDER, and go on where
they were stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from network_runs.plan import load_plan

only_option = click.option("--only", multiple=True, help="Networks; default: all.")


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--tiles", required=True, type=click.Path(path_type=Path), help="List of the labelled images.")
@only_option
@click.option("--seeds", default=3, show_default=True, help="Runs of each of the most used networks.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def train(folder: Path, tiles: Path, only: tuple[str, ...], seeds: int, threads: int) -> None:
    """Train what is not trained yet."""
    from network_runs.page import measured_runs
    from network_runs.training import Training, run_all

    torch.set_num_threads(threads)
    training = Training(load_plan(), folder, tiles.resolve())
    runs = training.left(seeds, only)
    _say_left_out()
    minutes = training.estimate(runs, measured_runs()) / 60
    click.echo(f"{len(runs)} runs, about {minutes:,.0f} minutes of one core")
    sys.exit(not run_all(runs, training.run, click.echo))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@only_option
@click.option("--side", default=512, show_default=True, help="Side of the window.")
@click.option("--seconds", default=1.0, show_default=True, help="Least time of each network in each arithmetic.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def speed(folder: Path, only: tuple[str, ...], side: int, seconds: float, threads: int) -> None:
    """Time what is not timed yet."""
    from network_runs.speed import Measure, left, measure_all

    plan, measure = load_plan(), Measure(side, threads, seconds)
    names = left(plan, folder, only)
    _say_left_out()
    click.echo(f"{len(names)} networks, about {measure.estimate(names) / 60:,.1f} minutes")
    for found in measure_all(plan, folder, only, measure):
        figures = f"{found['fp32_mpx_s']:7.3f} {found['bf16_mpx_s']:7.3f} Mpx/s  {found['memory_mib']:6,} MiB"
        click.echo(f"{found['network']:<16} {figures}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def page(folder: Path) -> None:
    """Write the figures and the picture into docs/, and make docs/networks.md."""
    from network_runs.page import write_page

    for path in write_page(load_plan(), folder):
        click.echo(path)


def _say_left_out() -> None:
    for name, reason in load_plan().left_out.items():
        click.echo(f"{name} is left out: {reason}")


if __name__ == "__main__":
    main()
