"""Whether a model uses the ground around its windows, and what that costs.

    python benchmarks/context.py beacon            # a class that cannot be told from near by; --seeds 3 for more
    python benchmarks/context.py cost              # seconds of a U-Net, and what its context adds

`beacon` trains a network alone and the same with context, then shows the second one the right context, that of other
windows, ground without data, and none. A branch that is used must be hurt by the wrong context; without any, the model
must be as good as the one that never had it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import torch
from beacon import CLASSES, Task, write_scenes
from torch import Tensor

from geoseg import load_model, train
from geoseg.context import LevelGrid
from geoseg.metrics import ScoreCounter
from geoseg.models import ContextSegmenter, Model, Views, build_network
from geoseg.pipelines.record import TrainProgress
from geoseg.pipelines.scoring import load_scored, scored_windows
from geoseg.samples import ScoredBatch
from geoseg.spec import ClassSpec, ContextSpec, ModelSpec, NetworkSpec, NormalizationSpec, TrainSpec, parse_spec
from geoseg.training_data import read_training_data


def small_unet(depth: int, *channels: int) -> dict[str, Any]:
    """A U-Net small enough for a CPU: both networks only have to find a few colours."""
    return {
        "architecture": "unet",
        "encoder": "tu-test_resnet",
        "arguments": {"encoder_depth": depth, "decoder_channels": channels},
        "multiple": 2**depth,
    }


CONTEXT = {
    "levels": [{"ratio": 8, "size": 64, "margin": 0.375}],
    "network": small_unet(4, 64, 32, 16, 16),
    "auxiliary": 1.0,
}
SETTINGS: dict[str, Any] = {
    "name": "beacon",
    "classes": CLASSES,
    "network": small_unet(2, 16, 16),
    "window": 32,
    "tile": 128,
    "overlap": 0,
    "epochs": 5,
    "windows_per_epoch": 2560,
    "batch_size": 16,
    "optimizer": {"learning_rate": 0.005},
    "ema": 0.98,
    "device": "cpu",
    "precision": "fp32",
    "augment": {
        "warp": 0.0, "gamma": 0.05, "contrast": 0.05, "brightness": 0.05, "saturation": 0.05, "band_gain": 0.0,
        "band_shift": 0.0, "band_mix": 0.0, "noise": 0.0, "blur_px": 0.0,
    },
}  # fmt: skip
CONTROLS: dict[str, Callable[[Tensor], Tensor | None]] = {
    "its own context": lambda views: views,
    "that of another scene": lambda views: views.roll(len(views) // 2, 0),
    "ground without data": torch.zeros_like,
    "none": lambda views: None,
}
"""What a network is shown instead of the views (N, C + 1, n, n) of all windows, scene after scene."""


@click.group()
def main() -> None:
    """Measure."""


@main.command()
@click.option("--seeds", default=1, show_default=True, help="Runs of each network.")
@click.option("--epochs", default=SETTINGS["epochs"], show_default=True, help="Epochs of 160 steps.")
@click.option("--scenes", default=60, show_default=True, help="Scenes to learn from.")
@click.option("--window", default=SETTINGS["window"], show_default=True, help="Side of a training window.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def beacon(seeds: int, epochs: int, scenes: int, window: int, threads: int) -> None:
    """Train on the beacon task with and without context."""
    torch.set_num_threads(threads)
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            tiles = write_scenes(Path(folder) / "scenes", Task(), {"train": scenes, "val": 8})
            for name, context in (("local", None), ("context", CONTEXT)):
                data = {"tiles": str(tiles), "bands": ["red", "green", "blue"], "class_balance": 1.0}
                changes = {"data": data, "context": context, "seed": seed, "epochs": epochs, "window": window}
                spec = parse_spec(TrainSpec, SETTINGS | changes, source="benchmark")
                result = train(spec, Path(folder) / name, progress=tell)
                ious = " / ".join(f"{value:.3f}" for value in result.scores.iou.values() if value is not None)
                click.echo(f"seed {seed}  {name:<8} {result.scores.miou:.3f}  ({ious})  {result.seconds:,.0f} s")
            for name, miou in controls(load_model(result.bundle), spec).items():
                click.echo(f"seed {seed}    shown {name:<22} {miou:.3f}")


def tell(state: TrainProgress) -> None:
    """Say how good an epoch was."""
    if state.scores is not None:
        click.echo(f"    epoch {state.epoch}: loss {state.loss:.3f}, mIoU {state.scores.miou:.3f}", err=True)


def controls(model: Model, spec: TrainSpec) -> dict[str, float]:
    """The mIoU on validation ground with the right context and with wrong ones."""
    network = model.module
    assert isinstance(network, ContextSegmenter)
    batches: list[ScoredBatch] = list(
        load_scored(scored_windows(read_training_data(spec).val, model.spec), 16 * 128**2)
    )
    views = torch.cat([batch.context.images[0] for batch in batches if isinstance(batch.context, Views)])
    found = {}
    for name, change in CONTROLS.items():
        counter, shown = ScoreCounter(len(spec.classes), None), change(views)
        parts = [None] * len(batches) if shown is None else shown.split([len(batch.image) for batch in batches])
        for batch, here in zip(batches, parts, strict=True):
            assert isinstance(batch.context, Views)
            with torch.inference_mode():
                context = None if here is None else network.see(Views((here,), batch.context.boxes))
                logits = network(batch.image, context)
            counter.update(logits.argmax(dim=1), batch.labels, batch.counted)
        found[name] = counter.scores([c.name for c in spec.classes]).miou
    return found


@main.command()
@click.option("--tile", default=1024, show_default=True, help="Side of a window.")
@click.option("--repeats", default=7, show_default=True, help="The fastest of so many counts.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Arithmetic.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def cost(tile: int, repeats: int, precision: str, threads: int) -> None:
    """Time the default model's U-Net alone, its fusion, and a view, per pixel of a large scene."""
    torch.set_num_threads(threads)
    arguments = {"encoder_depth": 4, "decoder_channels": [128, 64, 32, 16]}
    spec = ModelSpec(
        name="cost",
        network=NetworkSpec(architecture="unet", encoder="tu-resnet18", arguments=arguments),
        bands=("red", "green", "blue"),
        normalization=NormalizationSpec(mean=(0,) * 3, std=(1,) * 3),
        classes=tuple(ClassSpec(id=i, name=str(i), color="#000000") for i in range(6)),
        tile=tile,
        context=ContextSpec(),
    )
    network = build_network(spec).eval().to(memory_format=torch.channels_last)
    assert isinstance(network, ContextSegmenter)
    level = network.context.spec.levels[0]
    grid = LevelGrid(level, 10_000, 10_000)
    image = torch.rand(1, 3, tile, tile).to(memory_format=torch.channels_last)
    view = torch.rand(1, 4, level.size, level.size).to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        seen = network.see(Views((view,), (torch.tensor([[0.3, 0.3, 0.7, 0.7]]),)))
        alone = fastest(lambda: network(image), repeats) / tile**2
        together = fastest(lambda: network(image, seen), repeats) / tile**2
        views = fastest(lambda: network.encode(0, view), repeats) / (level.core_px * grid.ratio[0]) ** 2
    click.echo(
        f"alone {alone * 1e6:.3f} s/Mpx; fusion +{together / alone - 1:.1%}; views +{views / alone:.1%}; "
        f"together +{(together + views) / alone - 1:.1%}"
    )


def fastest(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest run, after one that does not count."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times[1:])


if __name__ == "__main__":
    main()
