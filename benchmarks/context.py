"""Whether a model uses the ground around its windows, and what that costs.

    python benchmarks/context.py beacon            # a class that cannot be told from near by; --seeds 3 for more
    python benchmarks/context.py cost              # seconds of a U-Net, and what its context adds; --init local
    python benchmarks/context.py scene             # time and memory of a whole scene, with and without
    python benchmarks/context.py memory            # peak memory by size of the scene, with a 1 x 1 convolution
    python benchmarks/context.py fractions BUNDLE CONFIG    # accuracy and time for --refine-fraction 0 to 1
    python benchmarks/context.py study FOLDER --dubai .../dubai_mbrsc_6class    # on imagery, against controls

`beacon` trains a network alone, the same with context, and one that refines coarser views. The second is then shown the
right context, that of other windows, ground without data, and none: a branch that is used must be hurt by the wrong
context; without any, the model must be as good as the one that never had it. The third is trained in two stages, and
scored for several shares of the windows in which it looks again.

`study` trains one network, and goes on from it in several ways (`context_study/`): with a context branch, with a
refinement module, and with as much training of the network itself. It says beforehand how long it takes, and goes on
where it was stopped.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
import torch
from beacon import CLASSES, Task, write_scenes
from torch import Tensor

from geoseg import evaluate_model, load_model, save_model, train
from geoseg.core.events import Progress, Reporter
from geoseg.metrics.counter import ScoreCounter
from geoseg.models.branches.context import ContextSegmenter
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.surroundings import NO_CONTEXT, Views
from geoseg.raster.pyramid import LevelGrid
from geoseg.spec import ClassSpec, ContextSpec, ModelSpec, NetworkSpec, NormalizationSpec, TrainSpec, parse_spec
from geoseg.training.data.training_data import read_training_data
from geoseg.training.run.progress import TrainProgress
from geoseg.training.scoring.score_windows import load_scored, scored_windows
from geoseg.training.scoring.scored_batch import ScoredBatch


def small_unet(depth: int, *channels: int) -> dict[str, Any]:
    """A U-Net small enough for a CPU: both networks only have to find a few colours."""
    return {
        "architecture": "unet",
        "encoder": "tu-test_resnet",
        "arguments": {"encoder_depth": depth, "decoder_channels": channels},
        "multiple": 2**depth,
    }


LARGER_UNET = {
    "architecture": "unet",
    "encoder": "tu-resnet18",
    "arguments": {"encoder_depth": 4, "decoder_channels": [64, 32, 16, 16]},
    "multiple": 16,
}
CONTEXT = {"levels": [{"ratio": "scene", "size": 64}], "network": LARGER_UNET, "auxiliary": 1.0}
SETTINGS: dict[str, Any] = {
    "name": "beacon",
    "classes": CLASSES,
    "network": small_unet(2, 16, 16),
    "window": 64,
    "tile": 128,
    "overlap": 0,
    "epochs": 14,
    "windows_per_epoch": 2560,
    "batch_size": 16,
    "optimizer": {"learning_rate": 0.003},
    "ema": 0.98,
    "device": "cpu",
    "precision": "fp32",
    "augment": {
        "warp": 0.0, "gamma": 0.05, "contrast": 0.05, "brightness": 0.05, "saturation": 0.05, "band_gain": 0.0,
        "band_shift": 0.0, "band_mix": 0.0, "noise": 0.0, "blur_px": 0.0,
    },
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "local": {"epochs": 3},
    "context": {"context": CONTEXT},
    "refine": {"epochs": 9, "network": LARGER_UNET, "refine": {"ratios": [8]}},
}
"""The networks that are compared; a local one knows after an epoch what it will ever know."""
SECOND_STAGES: dict[str, dict[str, Any]] = {"refine": {"epochs": 3, "refine": {"ratios": [8], "freeze_local": True}}}
"""What is trained on top of the first network, which stays as it is."""
FRACTIONS = 0.0, 0.1, 0.25, 0.5, 0.75, 1.0
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
@click.option("--scenes", default=240, show_default=True, help="Scenes to learn from.")
@click.option("--only", type=click.Choice(list(VARIANTS)), multiple=True, help="Networks; default: all.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def beacon(seeds: int, scenes: int, only: tuple[str, ...], threads: int) -> None:
    """Train on the beacon task alone, with context, and refining."""
    torch.set_num_threads(threads)
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            tiles = write_scenes(Path(folder) / "scenes", Task(), {"train": scenes, "val": 8})
            data = {"tiles": str(tiles), "bands": ["red", "green", "blue"], "class_balance": 1.0}
            for name in only or VARIANTS:
                changes = {"data": data, "seed": seed} | VARIANTS[name]
                spec = parse_spec(TrainSpec, SETTINGS | changes, source="benchmark")
                result = train(spec, Path(folder) / name, reporter=Epochs())
                if name in SECOND_STAGES:
                    changes |= SECOND_STAGES[name] | {"init_from": str(result.bundle)}
                    spec = parse_spec(TrainSpec, SETTINGS | changes, source="benchmark")
                    result = train(spec, Path(folder) / f"{name} on top", reporter=Epochs())
                ious = " / ".join(f"{value:.3f}" for value in result.scores.iou.values() if value is not None)
                click.echo(f"seed {seed}  {name:<8} {result.scores.miou:.3f}  ({ious})  {result.seconds:,.0f} s")
                model = load_model(result.bundle)
                if name == "context":
                    for shown, miou in controls(model, spec).items():
                        click.echo(f"seed {seed}    shown {shown:<22} {miou:.3f}")
                if name == "refine":
                    tell_fractions(model, spec)


def tell_fractions(model: Model, config: TrainSpec | Path) -> None:
    """Score a model that refines, for several shares of the windows in which it looks again, and as it is alone."""
    settings: dict[str, Any] = {"precision": "fp32", "boundary_px": 0}
    for fraction in FRACTIONS:
        found = evaluate_model(model, config, refine_fraction=fraction, **settings)
        click.echo(f"    looking again in {fraction:4.0%}  mIoU {found.scores.miou:.3f}  {found.seconds:6.1f} s")
    alone = evaluate_model(model, config, context=False, **settings)
    click.echo(f"    without coarser views  mIoU {alone.scores.miou:.3f}  {alone.seconds:6.1f} s")


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--threads", default=2, show_default=True, help="Threads.")
def fractions(bundle: Path, config: Path, threads: int) -> None:
    """Score a BUNDLE that refines on the validation ground of a CONFIG, for --refine-fraction 0 to 1."""
    torch.set_num_threads(threads)
    tell_fractions(load_model(bundle), config)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--dubai", type=click.Path(path_type=Path), help="Folder of the Dubai data set; default: without it.")
@click.option("--only", multiple=True, help="Grounds; default: all.")
@click.option("--seeds", default=5, show_default=True, help="Runs of each arm.")
@click.option("--train", "arms", multiple=True, help="Train these arms alone, and stop: for processes in parallel.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def study(
    folder: Path, dubai: Path | None, only: tuple[str, ...], seeds: int, arms: tuple[str, ...], threads: int
) -> None:
    """Compare context and refinement with controls of equal compute, on imagery."""
    from context_study.pictures import write_pictures
    from context_study.study import open_studies, write_table

    torch.set_num_threads(threads)
    studies = open_studies(folder, dubai, only, seeds)
    click.echo(f"about {sum(one.estimate(arms) for one in studies) / 60:,.0f} minutes of training on this machine")
    for one in studies:
        one.train(arms)
        if not arms:
            one.classify()
            click.echo(f"{one.ground.name}\n\n{write_table(one).read_text()}")
            write_pictures(one)


class Epochs(Reporter):
    """Says how good each epoch was."""

    def progress(self, progress: Progress) -> None:
        """Print the scores of an epoch that is done."""
        if isinstance(progress, TrainProgress) and progress.scores is not None:
            figures = f"loss {progress.loss:.3f}, mIoU {progress.scores.miou:.3f}"
            click.echo(f"    epoch {progress.epoch}: {figures}", err=True)


def controls(model: Model, spec: TrainSpec) -> dict[str, float]:
    """The mIoU on validation ground with the right context and with wrong ones."""
    network = model.module
    assert isinstance(network, ContextSegmenter)
    batches: list[ScoredBatch] = list(
        load_scored(scored_windows(read_training_data(spec).val, model.spec), 16 * 128**2)
    )
    views = torch.cat([batch.views.images[0] for batch in batches])
    found = {}
    for name, change in CONTROLS.items():
        counter, shown = ScoreCounter(len(spec.classes), None), change(views)
        parts = [None] * len(batches) if shown is None else shown.split([len(batch.image) for batch in batches])
        for batch, here in zip(batches, parts, strict=True):
            with torch.inference_mode():
                context = NO_CONTEXT if here is None else network.see(Views((here,), batch.views.boxes))
                logits = network(batch.image, context)
            counter.update(logits.argmax(dim=1), batch.labels, batch.counted)
        found[name] = counter.scores([c.name for c in spec.classes]).miou
    return found


@main.command()
@click.option("--tile", default=1024, show_default=True, help="Side of a window.")
@click.option("--repeats", default=7, show_default=True, help="The fastest of so many counts.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True, help="Arithmetic.")
@click.option("--init", type=click.Choice(["random", "local"]), default="random", show_default=True, help="Network.")
@click.option("--ratio", default=8, show_default=True, help="Ratio of the view.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
def cost(tile: int, repeats: int, precision: str, init: str, ratio: int, threads: int) -> None:
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
        context=parse_spec(ContextSpec, {"init": init, "levels": [{"ratio": ratio}]}, source="benchmark"),
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
        view_s = fastest(lambda: network.encode(0, view), repeats)
        views = view_s / (level.core_px * grid.ratio[0]) ** 2
    click.echo(f"a view of {level.size} px: {view_s * 1e3:.1f} ms")
    click.echo(
        f"alone {alone * 1e6:.3f} s/Mpx; fusion +{together / alone - 1:.1%}; views +{views / alone:.1%}; "
        f"together +{(together + views) / alone - 1:.1%}"
    )


KINDS: dict[str, dict[str, Any]] = {
    "local": {},
    "context": {"context": {}},
    "refine": {"refine": {"ratios": [4, 16]}},
}
POINTWISE: dict[str, dict[str, Any]] = {
    kind: changes | {"network": {"architecture": "pointwise"}}
    for kind, changes in (KINDS | {"refine": {"refine": {"ratios": [4, 16], "channels": 8}}}).items()
}
"""The same around a 1 x 1 convolution; the refinement module is small, too, or would take an hour."""
PREDICT = (
    "import re, sys, time, torch; from geoseg import predict; torch.set_num_threads(int(sys.argv[4])); "
    "began = time.perf_counter(); "
    "predict(sys.argv[1], sys.argv[2], model=sys.argv[3], polygons=False, preview=False, stac=False, "
    "refine_fraction=float(sys.argv[5]), precision=sys.argv[6], overwrite=True); "
    "seconds = time.perf_counter() - began; "
    "print(seconds, int(re.search(r'VmHWM:\\s*(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
)
"""What a process of its own does for each measurement: seconds and peak MiB (getrusage would tell its parent's)."""


@main.command()
@click.option("--side", default=10_000, show_default=True, help="Side of the scene in pixels.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="bf16", show_default=True, help="Arithmetic.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
@click.option("--only", type=click.Choice(list(KINDS)), multiple=True, help="Networks; default: all.")
def scene(side: int, precision: str, threads: int, only: tuple[str, ...]) -> None:
    """Time the default model's U-Net on a large scene: alone, with context, and refining."""
    with tempfile.TemporaryDirectory() as folder:
        path = large_scene(Path(folder) / "scene.tif", side)
        for kind in only or KINDS:
            bundle = save_model(*branched(KINDS[kind]), Path(folder) / f"{kind}.safetensors")
            for fraction in (0.0, 0.5, 1.0) if kind == "refine" else (1.0,):
                seconds, peak = predict_apart(path, bundle, threads, fraction, precision)
                click.echo(f"{kind:<8} {fraction:4.0%}  {seconds:7.1f} s  {peak:6,.0f} MiB")


@main.command()
@click.option("--side", "sides", default=[5_000, 10_000, 20_000], multiple=True, show_default=True, help="Sides.")
@click.option("--threads", default=2, show_default=True, help="Threads.")
@click.option("--only", type=click.Choice(list(KINDS)), multiple=True, help="Networks; default: all.")
def memory(sides: list[int], threads: int, only: tuple[str, ...]) -> None:
    """Peak memory of scenes of several sizes, seen by a 1 x 1 convolution with each branch."""
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            path = large_scene(Path(folder) / "scene.tif", side)
            for kind in only or POINTWISE:
                bundle = save_model(*branched(POINTWISE[kind]), Path(folder) / f"{kind}.safetensors")
                seconds, peak = predict_apart(path, bundle, threads, 0.5, "fp32")
                click.echo(f"{side:>6,}² {kind:<8} {seconds:7.1f} s  {peak:6,.0f} MiB")


def predict_apart(path: Path, bundle: Path, threads: int, fraction: float, precision: str) -> tuple[float, float]:
    """Predict in a process of its own: seconds and peak MiB."""
    arguments = [path, path.parent / "out", bundle, threads, fraction, precision]
    command = [sys.executable, "-c", PREDICT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split()[-2:])
    return seconds, peak


def branched(changes: dict[str, Any]) -> tuple[SegmentationNetwork, ModelSpec]:
    """The default model with a branch that is awake; a network in its place has random weights."""
    torch.manual_seed(0)
    default = load_model()
    spec = parse_spec(ModelSpec, default.spec.model_dump() | changes, source="benchmark")
    network = build_network(spec).eval()
    if "network" not in changes:
        network.load_state_dict(default.module.state_dict(), strict=False)
    return network, spec


def large_scene(path: Path, side: int) -> Path:
    """The sample scene, repeated to a large one."""
    with rasterio.open(Path(__file__).parents[1] / "sample_data" / "scene.tif") as sample:
        values = sample.read([1, 2, 3])
        profile = {"crs": sample.crs, "transform": sample.transform, "dtype": "uint8", "count": 3, "tiled": True}
    height, width = values.shape[1:]
    wide = np.tile(values, (1, 1, -(-side // width)))[:, :, :side]
    with rasterio.open(path, "w", "GTiff", width=side, height=side, compress="deflate", zlevel=1, **profile) as file:
        for row in range(0, side, height):
            rows = min(height, side - row)
            file.write(wide[:, :rows], window=rasterio.windows.Window(0, row, side, rows))
    return path


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
