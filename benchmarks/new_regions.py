"""New regions: what each way to a region without labels gains over a model of another region, by one small budget.

    python benchmarks/new_regions.py study FOLDER --ohio .../split.csv --dubai .../split.csv    # says how long it takes
    python benchmarks/new_regions.py table FOLDER
    python benchmarks/new_regions.py keep FOLDER
    python benchmarks/new_regions.py pictures FOLDER --ohio .../split.csv --dubai .../split.csv "source only" WAY...

A model learns the labels of Ohio and is used in Dubai, and the other way round, in five classes that both have
(`new_region_runs/arms.yaml`). No label of the region where it is used is learnt, or chooses anything: the only epoch
is kept, and settings are the methods' defaults. The study keeps what is done in FOLDER, and goes on where it was
stopped, or from what was measured before (`new_region_runs/measured.jsonl`; `keep FOLDER` writes it).
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from network_runs.training import run_all
from new_region_runs.study import open_study

MEASURED = Path(__file__).with_name("new_region_runs") / "measured.jsonl"
"""What was measured before, on whatever machine."""


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--ohio", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of NAIP Ohio.")
@click.option("--dubai", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of Dubai.")
@click.option("--only", multiple=True, help="Words of which one is in the name of an arm; default: all.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each arm.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
@click.option("--anew", is_flag=True, help="Measure also what was measured before.")
def study(
    folder: Path, ohio: Path, dubai: Path, only: tuple[str, ...], seeds: int, threads: int, *, anew: bool
) -> None:
    """Train what is not trained yet."""
    torch.set_num_threads(threads)
    found = open_study(folder, {"ohio": ohio.resolve(), "dubai": dubai.resolve()})
    if MEASURED.exists() and not anew:
        found.results.take_all(MEASURED)
    runs = found.left(seeds, only)
    click.echo(f"{len(runs)} runs, about {found.estimate(runs) / 60:,.0f} minutes of one core")
    sys.exit(not run_all(runs, found.run, click.echo))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("ways", nargs=-1, required=True)
@click.option("--ohio", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of NAIP Ohio.")
@click.option("--dubai", required=True, type=click.Path(path_type=Path), help="CSV of the tiles of Dubai.")
def pictures(folder: Path, ways: tuple[str, ...], ohio: Path, dubai: Path) -> None:
    """Draw the maps of some ways beside image and labels; of a way whose model was not kept, it is trained again."""
    from new_region_runs.pictures import write_pictures

    found = open_study(folder, {"ohio": ohio.resolve(), "dubai": dubai.resolve()})
    click.echo("\n".join(map(str, write_pictures(found, ways))))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def keep(folder: Path) -> None:
    """Write what is trained in FOLDER beside the study, for any machine to go on from."""
    open_study(folder, {}).results.write_all(MEASURED)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def table(folder: Path) -> None:
    """Print what is trained, as a table for README.md."""
    from new_region_runs.table import table as lines

    found = open_study(folder, {})
    click.echo("\n".join(lines(found.arms, found.results)))


if __name__ == "__main__":
    main()
