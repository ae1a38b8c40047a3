"""What `geoseg train` costs beside the network's own arithmetic, on a large compressed scene that it makes itself.

    python benchmarks/train.py ratio       training over the bare training step on a batch held in memory
    python benchmarks/train.py windows     what reading windows takes of processors, epoch by epoch
    python benchmarks/train.py torchgeo    training with TorchGeo over training with geoseg

All that is compared is measured in one process, in turn; with `--clock cpu --threads 1` by the time a processor works
for it, for a machine that does other work as well. `--side`, `--encoder`, `--window`, `--batch-size`, `--steps`,
`--precision`, `--threads`, `--device` and `--cache-mb` change what is measured.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import rasterio
import torch
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from rasterio.windows import Window as RasterioWindow

import geoseg
import geoseg.commands.train_run as pipeline
from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.losses.combined import SegmentationLoss
from geoseg.models.build import build_network
from geoseg.models.runner import choose_device, choose_precision
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.reading import readers
from geoseg.spec import (
    ClassSpec,
    DataSpec,
    LabelledRasterSpec,
    LossSpec,
    ModelSpec,
    NetworkSpec,
    NormalizationSpec,
    OptimizerSpec,
    SplitSpec,
    TrainSpec,
)
from geoseg.training.data.training_data import read_training_data
from geoseg.training.learner import Learner
from geoseg.training.loader import Loader, reading_threads
from geoseg.training.optimization import make_optimizer
from geoseg.training.run.trainer import LIGHTNING_PRECISION
from geoseg.training.windows.joint_windows import JointWindows
from geoseg.training.windows.random_windows import Sampling, TrainingWindows, WindowBatch, stack_windows

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sample_data"))
from make_sample_data import CLASSES, make_scene

BLOCK = 512
"""Side of a file block, and of the pieces that the scene is made of."""
LEAD = 6
"""Steps before the clock starts: the network is warm, and what was read ahead before the first step is used up."""
TAIL = 6
"""Steps after it stops, so that readers still work when the last step counts, which end some batches early."""
EPOCH = 320
"""Windows of an epoch where reading alone is measured."""
BANDS = ("red", "green", "blue", "nir")
NORMALIZATION = NormalizationSpec(mean=(115.0, 125.0, 100.0, 195.0), std=(45.0, 40.0, 35.0, 60.0))
"""For the bare step and TorchGeo, about that of the scene; geoseg finds its own."""
INSTALL = 'this needs TorchGeo: pip install "torchgeo<0.9" requests'


class Measured(Exception):
    """All steps are done: what a run does at its end is not measured."""


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    side: int
    encoder: str
    window: int
    batch_size: int
    steps: int
    precision: str
    device: torch.device
    cache_mb: int
    clock: str
    image: Path
    label: Path
    folder: Path

    @property
    def windows(self) -> int:
        """Training windows in a run, those that do not count among them."""
        return (LEAD + self.steps + TAIL) * self.batch_size


@dataclass
class Clock:
    """When steps ended, and when something else was under way in them."""

    settings: Settings
    stamps: list[float] = field(default_factory=list)
    spans: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def now(self) -> float:
        """Seconds, or those for which the processor worked for this process."""
        return time.perf_counter() if self.settings.clock == "wall" else time.process_time()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Note what is under way in this thread: how long, or how long the processor worked for it."""
        own = time.perf_counter if self.settings.clock == "wall" else time.thread_time
        start, begun = self.now(), own()
        try:
            yield
        finally:
            self.spans[name].append((start, start + own() - begun))

    def tick(self) -> None:
        """Note the end of a step; a GPU is waited for only where the clock starts and stops."""
        if len(self.stamps) + 1 in (LEAD, LEAD + self.settings.steps):
            synchronize(self.settings.device)
        self.stamps.append(self.now())

    @property
    def counted(self) -> tuple[float, float]:
        """Start and end of the steps that count."""
        return self.stamps[LEAD - 1], self.stamps[LEAD + self.settings.steps - 1]

    @property
    def speed(self) -> float:
        """Samples per second."""
        start, end = self.counted
        return self.settings.steps * self.settings.batch_size / (end - start)

    def share(self, name: str) -> float:
        """Share of the time in which something was under way."""
        start, end = self.counted
        return sum(max(0.0, min(end, last) - max(start, first)) for first, last in self.spans[name]) / (end - start)

    @contextmanager
    def timing(self, owner: type, method: str, name: str) -> Iterator[None]:
        """Note when a method of a class runs; what it leaves a GPU to do is not waited for."""
        original = getattr(owner, method)

        def timed(*args: Any, **settings: Any) -> Any:
            with self.span(name):
                return original(*args, **settings)

        with patch.object(owner, method, timed):
            yield

    @contextmanager
    def timing_readers(self) -> Iterator[None]:
        """Note when threads read windows, and when readers decode parts of them."""
        original = readers.call

        def timed(*args: Any) -> Any:
            is_reader = threading.current_thread().name.startswith("geoseg-reader")
            with self.span("decoding" if is_reader else "reading"):
                return original(*args)

        with patch.object(readers, "call", timed):
            yield

    @contextmanager
    def timing_waits(self) -> Iterator[None]:
        """Note when the training thread waits for a batch."""
        original = Loader.__iter__

        def timed(loader: Loader) -> Iterator[Any]:
            if not isinstance(loader.items, JointWindows):
                yield from original(loader)
                return
            batches = original(loader)
            while True:
                with self.span("waiting"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

        with patch.object(Loader, "__iter__", timed):
            yield


def synchronize(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# --- the scene -------------------------------------------------------------------------------------------------------


def write_scene(folder: Path, side: int) -> tuple[Path, Path]:
    """Write a scene of four bands and its labels, tiled and compressed with DEFLATE, window by window.

    Each file block shows a piece of one of a few landscapes, turned, mirrored, and with noise of its own, so that no
    block repeats another and all compress as imagery does.
    """
    rng = np.random.default_rng(0)
    landscapes = [make_scene(2 * BLOCK, 2 * BLOCK, seed) for seed in range(4)]
    grain = np.rint(rng.normal(0, 2, (len(BANDS), 4 * BLOCK, 4 * BLOCK))).astype(np.int16)
    shared = {
        "driver": "GTiff", "height": side, "width": side, "dtype": "uint8", "crs": "EPSG:32617", "tiled": True,
        "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "num_threads": "all_cpus",
        "transform": from_origin(3e5, 4.3e6, 0.5, 0.5), "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    image = {"count": len(BANDS), "predictor": 2, "photometric": "RGB", "alpha": "unspecified", "interleave": "pixel"}
    paths = folder / "scene.tif", folder / "labels.tif"
    with ExitStack() as stack:
        scene = stack.enter_context(rasterio.open(paths[0], "w", **shared, **image))
        ids = stack.enter_context(rasterio.open(paths[1], "w", **shared, count=1))
        scene.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.undefined]
        scene.descriptions = BANDS
        for row in range(0, side, BLOCK):
            for col in range(0, side, BLOCK):
                height, width = min(BLOCK, side - row), min(BLOCK, side - col)
                values, classes = piece(landscapes[rng.integers(len(landscapes))], grain, rng)
                window = RasterioWindow(col, row, width, height)
                scene.write(values[:, :height, :width], window=window)
                ids.write(classes[:height, :width], 1, window=window)
    return paths


def piece(
    landscape: tuple[np.ndarray, np.ndarray], grain: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a block and its classes out of a landscape."""
    (row, col), (down, right) = rng.integers(BLOCK + 1, size=2), rng.integers(3 * BLOCK, size=2)
    values, classes = (part[..., row : row + BLOCK, col : col + BLOCK] for part in landscape)
    values = (values + grain[:, down : down + BLOCK, right : right + BLOCK]).clip(0, 255).astype(np.uint8)
    turns, mirrored = int(rng.integers(4)), rng.integers(2)
    values, classes = np.rot90(values, turns, (1, 2)), np.rot90(classes, turns)
    return (values[..., ::-1], classes[..., ::-1]) if mirrored else (values, classes)


def describe_scene(settings: Settings) -> str:
    """Size of the scene, and of GDAL's cache, which a larger scene does not fit into."""
    decoded, stored = len(BANDS) * settings.side**2 / 2**20, settings.image.stat().st_size / 2**20
    return (
        f"{settings.side}² pixels, {len(BANDS)} bands: {decoded:,.0f} MiB, {stored:,.0f} in the file; GDAL's cache: "
        f"{settings.cache_mb:,.0f}\n{settings.encoder}, {settings.batch_size} windows of {settings.window}², "
        f"{settings.steps} steps, {settings.precision} on {settings.device}, {torch.get_num_threads()} threads"
    )


# --- the bare step ---------------------------------------------------------------------------------------------------


def network_spec(settings: Settings) -> NetworkSpec:
    """The network that all train."""
    return NetworkSpec(architecture="unet", encoder=settings.encoder)


def class_specs() -> tuple[ClassSpec, ...]:
    """The classes of the scene."""
    return tuple(ClassSpec(**one) for one in CLASSES)


def fixed_batch(settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Read windows of the scene's diagonal: images (B, C, S, S) and classes (B, S, S), on the device."""
    last = settings.side - settings.window
    corners = np.linspace(0, last, settings.batch_size).astype(int).tolist()
    places = [RasterioWindow(at, at, settings.window, settings.window) for at in corners]
    with rasterio.open(settings.image) as scene, rasterio.open(settings.label) as ids:
        image = torch.from_numpy(np.stack([scene.read(window=place) for place in places])).float()
        labels = torch.from_numpy(np.stack([ids.read(1, window=place) for place in places])).long()
    return image.to(settings.device).contiguous(memory_format=torch.channels_last), labels.to(settings.device)


def bare_step(settings: Settings) -> Callable[[], None]:
    """Forward, backward and a step of geoseg's optimizer on one batch, with geoseg's network, loss and arithmetic."""
    model = ModelSpec(
        name="bare", network=network_spec(settings), bands=BANDS, normalization=NORMALIZATION, classes=class_specs()
    )
    network = build_network(model).to(settings.device, memory_format=torch.channels_last).train()
    loss = SegmentationLoss(LossSpec(), [1] * len(CLASSES))
    optimizer = make_optimizer(network, OptimizerSpec())
    image, labels = fixed_batch(settings)
    dtype = torch.float16 if settings.precision == "fp16" else torch.bfloat16
    scaler = torch.amp.GradScaler(settings.device.type, enabled=settings.precision == "fp16")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(settings.device.type, dtype, enabled=settings.precision != "fp32"):
            cost = loss(network(image), labels)
        scaler.scale(cost).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def measure_bare(step: Callable[[], None], settings: Settings) -> float:
    """Samples per second of the bare step."""
    clock = Clock(settings)
    for _ in range(LEAD + settings.steps):
        step()
        clock.tick()
    return clock.speed


# --- geoseg ----------------------------------------------------------------------------------------------------------


def train_spec(settings: Settings, memory_mb: int) -> TrainSpec:
    """A run on the scene; images in memory if they take no more than so much."""
    return TrainSpec(
        name="bench",
        data=DataSpec(
            scenes=(LabelledRasterSpec(image=settings.image, label=settings.label),),
            bands=BANDS,
            memory_mb=memory_mb,
            split=SplitSpec(by="blocks", val_share=0.001, block_px=min(1024, settings.side // 4)),
        ),
        classes=class_specs(),
        network=network_spec(settings),
        epochs=1,
        windows_per_epoch=settings.windows,
        batch_size=settings.batch_size,
        window=settings.window,
        precision=settings.precision,
        device=str(settings.device),
    )


def measure_geoseg(settings: Settings, memory_mb: int) -> Clock:
    """Train an epoch with geoseg as a user would, with a small part of the scene to score on."""
    spec = train_spec(settings, memory_mb)
    clock = Clock(settings)

    class Ticking(Reporter):
        def progress(self, progress: Progress) -> None:
            if progress.stage == "training":
                clock.tick()
                if len(clock.stamps) * settings.batch_size == settings.windows:
                    raise Measured

    with ExitStack() as stack, suppress(Measured):
        stack.enter_context(patch.object(pipeline, "TRAINING_CACHE_MB", settings.cache_mb))
        stack.enter_context(clock.timing_waits())
        stack.enter_context(clock.timing(WindowBatch, "augmented", "augmentation"))
        stack.enter_context(clock.timing(Learner, "on_train_batch_end", "running mean"))
        stack.enter_context(clock.timing_readers())
        geoseg.train(spec, settings.folder / "geoseg", overwrite=True, reporter=Ticking())
    return clock


def where_time_goes(clock: Clock) -> str:
    """Shares of the time that steps took, in the thread that trains and in those that read."""
    apart = {name: clock.share(name) for name in ("waiting", "augmentation", "running mean")}
    rest = 1 - sum(apart.values())
    reading, decoding = clock.share("reading"), clock.share("decoding")
    both = reading + decoding if clock.settings.clock == "cpu" else reading
    rest -= both if clock.settings.clock == "cpu" else 0
    return (
        f"    training thread: waiting for data {apart['waiting']:.1%}, augmentation {apart['augmentation']:.1%}, "
        f"running mean {apart['running mean']:.1%}, network and the rest {rest:.1%}\n"
        f"    reading threads: busy {both:.1%}, of which readers that decode {decoding:.1%}"
    )


def fits_memory(settings: Settings) -> bool:
    """Whether geoseg's default is to hold a scene of this size in memory."""
    return settings.side**2 * (len(BANDS) + 2) <= DataSpec.model_fields["memory_mb"].default * 2**20


def run_ratio(settings: Settings) -> None:
    """Training over the bare step, which is measured before and after."""
    step = bare_step(settings)
    before = measure_bare(step, settings)
    ways = {"from files": 0}
    if fits_memory(settings):
        ways["in memory"] = DataSpec.model_fields["memory_mb"].default
    for way, memory_mb in ways.items():
        clock = measure_geoseg(settings, memory_mb)
        after = measure_bare(step, settings)
        bare = 2 / (1 / before + 1 / after)
        print(
            f"{way}: {clock.speed:.2f} samples/s over {bare:.2f} bare ({before:.2f} before, {after:.2f} after) = "
            f"{clock.speed / bare:.2f}\n{where_time_goes(clock)}"
        )
        before = after


def run_windows(settings: Settings) -> None:
    """Time of processors that reading a window from the files takes, in each of three epochs."""
    spec = train_spec(settings, 0)
    with gdal_settings(settings.cache_mb):
        data = read_training_data(spec, store=None, reporter=SILENT)
        sampling = Sampling(settings.window, spec.read_side, EPOCH, spec.data.class_balance, spec.seed)
        windows = TrainingWindows(data.train.rasters, data.train.cells, sampling, NORMALIZATION.mean)
        batches = [range(first, first + settings.batch_size) for first in range(0, EPOCH, settings.batch_size)]
        loader = Loader(windows, batches, stack_windows, reading_threads())
        for windows.epoch in range(3):
            begun = time.process_time()
            count = sum(len(batch.image) for batch in loader)
            print(f"epoch {windows.epoch + 1}: {(time.process_time() - begun) / count * 1000:.1f} ms per window")


# --- TorchGeo --------------------------------------------------------------------------------------------------------


def measure_torchgeo(settings: Settings, workers: int) -> float:
    """Samples per second of TorchGeo, put together as its data modules for large rasters are.

    Which are NAIPChesapeakeDataModule and L7IrishDataModule. It does less than geoseg: its augmentation has no colours
    and no free turns, its loss is the cross-entropy alone, it keeps no running mean and balances no classes.
    """
    import kornia.augmentation as kornia
    import shapely
    from kornia.constants import DataKey, Resample
    from lightning import Callback, Trainer
    from torchgeo.datamodules import GeoDataModule
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler, RandomBatchGeoSampler
    from torchgeo.trainers import SemanticSegmentationTask

    class Labels(RasterDataset):
        is_image = False

    class Data(GeoDataModule):
        mean, std = torch.tensor(NORMALIZATION.mean), torch.tensor(NORMALIZATION.std)

        def __init__(self) -> None:
            super().__init__(RasterDataset, settings.batch_size, settings.window, settings.windows, workers)
            self.train_aug = kornia.AugmentationSequential(
                kornia.Normalize(mean=self.mean, std=self.std),
                kornia.RandomResizedCrop((settings.window, settings.window), scale=(0.6, 1.0)),
                kornia.RandomVerticalFlip(p=0.5),
                kornia.RandomHorizontalFlip(p=0.5),
                data_keys=None,
                keepdim=True,
                extra_args={DataKey.MASK: {"resample": Resample.NEAREST, "align_corners": None}},
            )

        def setup(self, stage: str) -> None:
            self.dataset = RasterDataset(settings.image) & Labels(settings.label)
            x, y, _ = self.dataset.bounds
            self.train_batch_sampler = RandomBatchGeoSampler(
                self.dataset, self.patch_size, self.batch_size, self.length
            )
            reach = settings.window * x.step
            corner = shapely.box(x.start, y.start, x.start + reach, y.start + reach)
            self.val_sampler = GridGeoSampler(self.dataset, self.patch_size, self.patch_size, corner)

    class Ticking(Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            clock.tick()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    clock = Clock(settings)
    task = SemanticSegmentationTask(
        model="unet", backbone=settings.encoder, in_channels=len(BANDS), num_classes=len(CLASSES), loss="ce"
    )
    trainer = Trainer(
        accelerator="gpu" if settings.device.type == "cuda" else settings.device.type,
        devices=[settings.device.index or 0] if settings.device.type == "cuda" else 1,
        precision=LIGHTNING_PRECISION[settings.precision],
        max_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        callbacks=[Ticking()],
        default_root_dir=settings.folder / "torchgeo",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    with rasterio.Env(GDAL_CACHEMAX=settings.cache_mb * 2**20):
        trainer.fit(task, datamodule=Data())
    return clock.speed


def run_torchgeo(settings: Settings) -> None:
    """TorchGeo's best over geoseg, which is measured before and after."""
    import torchgeo

    before = measure_geoseg(settings, 0).speed
    theirs = {workers: measure_torchgeo(settings, workers) for workers in (0, 2)}
    after = measure_geoseg(settings, 0).speed
    ours, best = 2 / (1 / before + 1 / after), max(theirs.values())
    workers = ", ".join(f"{speed:.2f} with {count} workers" for count, speed in theirs.items())
    print(
        f"geoseg {ours:.2f} samples/s ({before:.2f} before, {after:.2f} after), TorchGeo {torchgeo.__version__} "
        f"{best:.2f} ({workers}): geoseg is {ours / best:.2f} times as fast"
    )
    if fits_memory(settings):
        held = measure_geoseg(settings, DataSpec.model_fields["memory_mb"].default).speed
        print(f"geoseg with the scene in memory, as is its default: {held:.2f} samples/s, {held / best:.2f} times")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ratio", "windows", "torchgeo"])
    parser.add_argument("--side", type=int, default=16384, help="side of the scene, in pixels")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="steps that count")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--clock", default="wall", choices=["wall", "cpu"])
    parser.add_argument("--cache-mb", type=int, default=pipeline.TRAINING_CACHE_MB, help="GDAL's cache, for all")
    options = parser.parse_args()
    if options.what == "torchgeo":
        try:
            import torchgeo  # noqa: F401
        except ModuleNotFoundError:
            sys.exit(INSTALL)
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, label = write_scene(folder, options.side)
        settings = Settings(
            side=options.side,
            encoder=options.encoder,
            window=options.window,
            batch_size=options.batch_size,
            steps=options.steps,
            precision=choose_precision(options.precision, device),
            device=device,
            cache_mb=options.cache_mb,
            clock=options.clock,
            image=image,
            label=label,
            folder=folder,
        )
        print(describe_scene(settings), flush=True)
        {"ratio": run_ratio, "windows": run_windows, "torchgeo": run_torchgeo}[options.what](settings)


if __name__ == "__main__":
    main()
