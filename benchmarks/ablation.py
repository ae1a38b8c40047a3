"""What helps training, and how sure that is: variants of a config, each trained with several seeds.

    python benchmarks/ablation.py benchmarks/ablation.yaml --data .../naip_ohio_6class/split.csv

Prints, for each variant, mean and spread (lowest to highest) over the seeds of the validation mIoU: of the best epoch,
which is what `geoseg train` keeps but flatters, and of the last one, which nobody chose.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import click
import torch

from geoseg import train
from geoseg.spec import TrainSpec, load_train_spec, load_yaml, parse_spec


@click.command()
@click.argument("variants", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="CSV of labelled tiles.")
@click.option("--seeds", default=3, show_default=True, help="Runs of each variant.")
@click.option("--only", multiple=True, help="Names of variants; default: all.")
@click.option("--encoder-weights", help="File of pretrained weights, instead of a download.")
@click.option("--threads", default=2, show_default=True, help="Threads of each run.")
def main(
    variants: Path, data: Path, seeds: int, only: tuple[str, ...], encoder_weights: str | None, threads: int
) -> None:
    """Train every variant with every seed."""
    torch.set_num_threads(threads)
    table = load_yaml(variants)
    base = load_train_spec(variants.parent / table["config"]).model_dump(mode="json")
    if encoder_weights:
        base["encoder_weights"] = str(Path(encoder_weights).absolute())
    base = merge(base, table["schedule"])
    for name, changes in table["variants"].items():
        if not only or name in only:
            spec = parse_spec(TrainSpec, merge(base, changes or {}), source=f"variant {name}")
            runs = [run(spec, data, seed) for seed in range(seeds)]
            best, last = zip(*runs, strict=True)
            click.echo(f"{name:<28} best {text(best)}   last {text(last)}")


def run(spec: TrainSpec, data: Path, seed: int) -> tuple[float, float]:
    """The mIoU of the best and of the last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        result = train(spec, folder, data=data, seed=seed)
        lines = list(csv.DictReader(result.metrics.open()))
    click.echo(
        f"  seed {seed}: " + ", ".join(f"{key[4:]} {value}" for key, value in lines[-1].items() if key[:4] == "iou ")
    )
    return result.scores.miou, float(lines[-1]["miou"])


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with some of them changed; mappings are changed key by key."""
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(base[key], value) if nested else value
    return merged


def text(values: tuple[float, ...]) -> str:
    """Mean and spread."""
    return f"{sum(values) / len(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
