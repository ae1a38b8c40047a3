"""Whether runs that are killed, or lose their power, end in the right files.

    python benchmarks/robustness.py kills predict|train|vectorize [--count N] [--seed S]
    python benchmarks/robustness.py powercut predict|train [--count N] [--seed S]

A kill is SIGKILL at a random moment of a run, from its first breath to after its end. After each, what it left is
run to its end, and what comes of it is compared with the files of a run that nobody disturbed; the next kill hits a run
that goes on from where the last one left off. A power cut is a run that stops at a random moment, and random files of
which are then cut short, emptied, filled with zeros in part or whole, or gone. What holds ends in the right pixels,
polygons or weights, or in an error of one line. Runs are forked from a process that has loaded everything, so that the
moments fall on the work and not on Python's start.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: its threads do not survive a fork

import numpy as np
import pyogrio
import rasterio
import torch
import yaml
from rasterio.transform import from_origin
from safetensors.numpy import load_file

from geoseg.commands.predict import predict
from geoseg.commands.train import train
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import GeosegError
from geoseg.core.events import SILENT, Progress, Reporter, Stage
from geoseg.inference.shards import split_evenly
from geoseg.inference.tile_rows import join_tile_rows, run_tile_rows
from geoseg.inference.work_folder import work_path
from geoseg.models.build import build_network
from geoseg.models.model import Model
from geoseg.spec import ClassSpec, ContextLevel, ContextSpec, ModelSpec, NetworkSpec, NormalizationSpec, RefineSpec

NETWORK = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 3, "decoder_channels": [16, 8, 8]}, multiple=8
)
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "context": {
        "context": ContextSpec(levels=(ContextLevel(ratio=4, size=64),), network=NETWORK, channels=4),
        "tile": 128,
    },
    "refine": {"refine": RefineSpec(ratios=(2, 8), channels=8), "tile": 64, "overlap": 16},
}
"""What a model sees beside its windows: nothing, the ground around, or coarser views first."""


class Trial(Protocol):
    """Something that can be run, disturbed, and run again."""

    def run(self, folder: Path, *, resume: bool) -> None:
        """Make all results in a folder."""
        ...

    def found(self, folder: Path) -> dict[str, Any]:
        """What the results say, whatever differs from run to run left out."""
        ...


# -------------------------------------------------------------------------------------------------------------- trials


def write_raster(path: Path, values: np.ndarray, left: float = 300_000) -> Path:
    """Write (bands, h, w) bytes as a GeoTIFF."""
    count, height, width = values.shape
    grid = {"crs": "EPSG:32617", "transform": from_origin(left, 4_300_000, 0.6, 0.6)}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", nodata=0, **grid) as raster:
        raster.write(values.astype(np.uint8))
    return path


def make_model(way: str) -> Model:
    """A network of random weights that sees around itself."""
    torch.manual_seed(0)
    values: dict[str, Any] = {
        "name": "random",
        "network": NETWORK,
        "bands": ("red", "green", "blue"),
        "normalization": NormalizationSpec(mean=(120,) * 3, std=(60,) * 3),
        "classes": [ClassSpec(id=i, name=f"class {i}", color=f"#{50 * i:02x}8080") for i in range(4)],
        "resolution_m": 0.6,
    }
    spec = ModelSpec(**values | WAYS[way])
    network = build_network(spec).eval()
    with torch.no_grad():
        network.body.head.apply(lambda part: part.weight.mul_(20) if isinstance(part, torch.nn.Conv2d) else None)
    return Model(spec, network)


@dataclass
class Prediction:
    """A scene of random colours with a hole, classified in nine tile rows or so."""

    scene: Path
    model: Model
    settings: dict[str, Any]

    @classmethod
    def make(cls, folder: Path, way: str = "plain", **settings: Any) -> Prediction:
        """Write a scene, make a model."""
        values = np.random.default_rng(0).integers(1, 255, (3, 30, 23)).repeat(14, axis=1).repeat(13, axis=2)
        values[:, 120:250, 80:] = 0
        tiles = {"tile": WAYS[way].get("tile", 64), "overlap": 16, "precision": "fp32", "device": "cpu"}
        return cls(write_raster(folder / "s.tif", values), make_model(way), tiles | settings)

    def run(self, folder: Path, *, resume: bool) -> None:
        """Classify the scene."""
        files = {"scores": folder / "scores.tif", "confidence": folder / "confidence.tif"}
        folder.mkdir(exist_ok=True)
        predict(self.scene, folder, model=self.model, resume=resume, **files | self.settings)

    def found(self, folder: Path) -> dict[str, Any]:
        """Rasters, tables and styles byte for byte; polygons one by one."""
        return everything_in(folder, unlike=(".json",))

    def stop(self, folder: Path, rng: random.Random) -> None:
        """Finish some tile rows in any order, as several processes would, perhaps some seams, then stop."""

        def some(job: Any, work: Any, *_: Any) -> None:
            job.view.surroundings(work)
            shards = list(split_evenly(range(job.grid.rows.count), rng.randint(1, 5)))
            for shard in rng.sample(shards, rng.randint(1, len(shards))):
                run_tile_rows(job, work, shard[: rng.randint(1, len(shard))], Stage(SILENT, "predicting", 0))
            for i in range(1, job.grid.rows.count):
                if work.is_finished(i) and work.is_finished(i - 1) and rng.random() < 0.3:
                    join_tile_rows(job, work, i)
            raise Stopped

        with patch("geoseg.commands.predict.run_scene", some), suppress_stop():
            self.run(folder, resume=False)

    def fragile(self, folder: Path) -> Path:
        """Where the files lie that a power cut may damage."""
        return work_path(folder / "s_landcover.tif")


@dataclass
class Training:
    """A 1 × 1 convolution that learns two classes in four epochs."""

    config: Path

    @classmethod
    def make(cls, folder: Path) -> Training:
        """Write tiles and a config."""
        rng, lines = np.random.default_rng(0), ["image,label,split"]
        for place, split in enumerate(("train", "val")):
            index = np.repeat([0, 1], 24) * np.ones((40, 1), int)
            colors = np.array([[40, 160, 60], [60, 60, 170]])[index].transpose(2, 0, 1)
            left = 300_000 + 1000.0 * place
            write_raster(folder / f"{split}.tif", colors + rng.integers(0, 30, (3, 40, 48)), left)
            write_raster(folder / f"{split}_labels.tif", np.array([3, 9])[index][None], left)
            lines.append(f"{split}.tif,{split}_labels.tif,{split}")
        (folder / "tiles.csv").write_text("\n".join(lines))
        settings = {
            "name": "small",
            "data": {"tiles": "tiles.csv", "bands": ["red", "green", "blue"], "resolution_m": 0.6},
            "classes": [{"id": 3, "name": "grass", "color": "#00ff00"}, {"id": 9, "name": "water", "color": "#0000ff"}],
            "network": {"architecture": "pointwise"},
            "epochs": 4, "windows_per_epoch": 16, "batch_size": 4, "window": 32, "ema": 0.5,
            "optimizer": {"learning_rate": 0.1}, "precision": "fp32", "device": "cpu",
        }  # fmt: skip
        config = folder / "small.yaml"
        config.write_text(yaml.safe_dump(settings))
        return cls(config)

    def run(self, folder: Path, *, resume: bool) -> None:
        """Train; a run that is finished is left as it is."""
        if not is_trained(folder):
            train(self.config, folder, resume=resume)

    def found(self, folder: Path) -> dict[str, Any]:
        """Weights, and the scores of all epochs."""
        with (folder / "metrics.csv").open() as table:
            lines = [line | {"seconds": ""} for line in csv.DictReader(table)]
        weights = {name: values.tobytes() for name, values in load_file(folder / "small.safetensors").items()}
        return weights | {"metrics": lines, "hidden": hidden(folder)}

    def stop(self, folder: Path, rng: random.Random) -> None:
        """Train up to a random batch."""
        left = rng.randint(3, 22)

        class Stop(Reporter):
            def progress(self, progress: Progress) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    raise Stopped

        with suppress_stop():
            train(self.config, folder, reporter=Stop())

    def fragile(self, folder: Path) -> Path:
        """Where the files lie that a power cut may damage."""
        return folder


@dataclass
class Vectorization:
    """A raster of random classes that becomes some thousand polygons."""

    raster: Path
    ending: str

    @classmethod
    def make(cls, folder: Path, ending: str = ".gpkg") -> Vectorization:
        """Write a raster."""
        values = np.random.default_rng(0).integers(1, 5, (1, 120, 120)).repeat(3, axis=1).repeat(3, axis=2)
        return cls(write_raster(folder / "classes.tif", values), ending)

    def run(self, folder: Path, *, resume: bool) -> None:
        """Vectorize; an older file is replaced."""
        vectorize(self.raster, folder / f"out{self.ending}", overwrite=True, simplify="1px")

    def found(self, folder: Path) -> dict[str, Any]:
        """Polygons one by one."""
        return everything_in(folder, unlike=(".dbf", ".shp"))


class Stopped(BaseException):
    """A run stops here; nothing catches it."""


class suppress_stop:
    """Leave quietly when a run was stopped."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, Stopped)


def is_trained(folder: Path) -> bool:
    """Whether a training run is finished."""
    return (folder / "report.html").exists() and not (folder / "checkpoint.ckpt").exists()


def everything_in(folder: Path, unlike: tuple[str, ...] = ()) -> dict[str, Any]:
    """Names of all files, content of those that are alike from run to run, and rows of GeoPackages."""
    found: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix == ".gpkg":
            _, _, shapes, columns = pyogrio.raw.read(path, layer=pyogrio.list_layers(path)[0, 0])
            found[path.name] = b"".join(shapes.tolist()), [column.tolist() for column in columns]
        else:
            found[path.name] = None if path.suffix in unlike else path.read_bytes()
    return found


def hidden(folder: Path) -> list[str]:
    """Names of hidden files."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


# --------------------------------------------------------------------------------------------------------------- kills


@dataclass
class Tally:
    """What came of trials."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: str, what: str = "") -> None:
        """Count an outcome: right, or an error of one line; all else is a failure."""
        kind = outcome if outcome == "right" else "one line" if outcome.startswith("error: ") else "FAILED"
        self.outcomes[kind] += 1
        print(f"{what}: {kind}", file=sys.stderr)
        if kind == "one line":
            self.lines[re.sub(r"/\S*/", "", outcome)] += 1
        if kind == "FAILED":
            self.failures.append(f"{what}: {outcome}")


def fork(work: Callable[[], None], seconds: float | None = None) -> str:
    """Run something in a process of its own, killed after so many seconds; say how it ended.

    Returns:
        killed, done, `error: ` and a line, or a traceback.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.write(writer, outcome_of(work).encode()[:60_000])
        os._exit(0)
    os.close(writer)
    if not select.select([reader], [], [], seconds)[0]:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, "rb") as said:
        outcome = said.read().decode()
    os.waitpid(child, 0)
    return outcome or "killed"


def outcome_of(work: Callable[[], None]) -> str:
    """How something ends: done, `error: ` and a line, or a traceback."""
    try:
        work()
    except GeosegError as error:
        line = str(error)
        return f"error: {line}" if "\n" not in line else f"more than a line: {line}"
    except BaseException:
        return traceback.format_exc()
    return "done"


def compared(trial: Trial, folder: Path, expected: dict[str, Any], outcome: str) -> str:
    """right, what differs from what is expected, or how else a run ended."""
    if outcome != "done":
        return outcome
    found = trial.found(folder)
    names = {name for name in found.keys() | expected.keys() if found.get(name, "?") != expected.get(name, "!")}
    return f"different: {', '.join(sorted(names))}" if names else "right"


def kill_again_and_again(trial: Trial, folder: Path, count: int, seed: int) -> Tally:
    """Kill a run at random moments; after each, bring it to its end, compare, and put back what the kill had left."""
    rng, tally = random.Random(seed), Tally()
    fork(lambda: trial.run(folder / "first", resume=False))  # what comes first takes longer
    started = time.monotonic()
    said = fork(lambda: trial.run(folder / "whole", resume=False))
    lasts = time.monotonic() - started
    if said != "done":
        raise SystemExit(f"undisturbed: {said}")
    expected, out, kept = trial.found(folder / "whole"), folder / "out", folder / "kept"
    while tally.outcomes.total() < count:
        at = rng.uniform(0, 1.2 * lasts)
        said = fork(lambda: trial.run(out, resume=True), at)
        if said == "done" or rng.random() < 0.1:  # begin a new one now and then, or late stages alone would be hit
            shutil.rmtree(out, ignore_errors=True)
            continue
        if said != "killed":
            tally.add(said, f"killed before, at {at:.2f} s")
            continue
        out.mkdir(exist_ok=True)
        shutil.copytree(out, kept, symlinks=True)
        said = fork(lambda: trial.run(out, resume=True))
        tally.add(compared(trial, out, expected, said), f"kill {tally.outcomes.total()} at {at:.2f} s")
        shutil.rmtree(out)
        kept.rename(out)
    return tally


# ----------------------------------------------------------------------------------------------------------- power cuts


def damage(folder: Path, rng: random.Random) -> list[str]:
    """Damage some files of a folder as a power cut does; say which, and how."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = rng.sample(files, min(len(files), rng.choice((1, 1, 2, 3, len(files)))))
    ways = cut, empty, zero_all, zero_end, zero_block, remove
    return [f"{path.name} {rng.choice(ways)(path, rng)}" for path in chosen]


def cut(path: Path, rng: random.Random) -> str:
    """End a file early."""
    os.truncate(path, rng.randint(0, path.stat().st_size))
    return "cut short"


def empty(path: Path, _: random.Random) -> str:
    """Keep the name alone."""
    os.truncate(path, 0)
    return "emptied"


def remove(path: Path, _: random.Random) -> str:
    """Keep nothing."""
    path.unlink()
    return "removed"


def zero_all(path: Path, _: random.Random) -> str:
    """Keep the length alone."""
    path.write_bytes(bytes(path.stat().st_size))
    return "zeroed"


def zero_end(path: Path, rng: random.Random) -> str:
    """Fill all with zeros from somewhere on."""
    content = path.read_bytes()
    kept = rng.randint(0, len(content))
    path.write_bytes(content[:kept] + bytes(len(content) - kept))
    return f"zeroed from {kept}"


def zero_block(path: Path, rng: random.Random) -> str:
    """Fill a block of the disk with zeros."""
    content = bytearray(path.read_bytes())
    block = 4096 * rng.randint(0, len(content) // 4096)
    content[block : block + 4096] = bytes(len(content[block : block + 4096]))
    path.write_bytes(content)
    return f"zeroed at {block}"


def cut_power(trial: Prediction | Training, folder: Path, expected: dict[str, Any], seed: int) -> tuple[str, str]:
    """Stop a run, damage what it left, and resume it; give the outcome, and what was damaged."""
    rng, out = random.Random(seed), folder / f"cut {seed}"
    trial.stop(out, rng)
    damaged = damage(trial.fragile(out), rng)
    outcome = compared(trial, out, expected, outcome_of(lambda: trial.run(out, resume=True)))
    shutil.rmtree(out)
    return outcome, f"seed {seed}, {', '.join(damaged)}"


def cut_power_again_and_again(trial: Prediction | Training, folder: Path, count: int, seed: int) -> Tally:
    """Cut the power of many runs."""
    tally = Tally()
    trial.run(folder / "whole", resume=False)
    expected = trial.found(folder / "whole")
    for number in range(count):
        outcome, what = cut_power(trial, folder, expected, seed + number)
        tally.add(outcome, what)
    return tally


# ------------------------------------------------------------------------------------------------------------- command


def run_all(how: str, what: str, count: int, seed: int, folder: Path) -> dict[str, Tally]:
    """Try all ways of one thing, which share the count."""
    if how == "powercut":
        if what == "train":
            return {what: cut_power_again_and_again(Training.make(folder), folder, count, seed)}
        quick = {"polygons": False, "preview": False, "stac": False}
        return {
            f"predict, {way}": cut_power_again_and_again(Prediction.make(place, way, **quick), place, share, seed)
            for way, share, place in shares(folder, list(WAYS), count)
        }
    if what == "train":
        return {what: kill_again_and_again(Training.make(folder), folder, count, seed)}
    if what == "vectorize":
        return {
            f"vectorize, {end}": kill_again_and_again(Vectorization.make(place, end), place, share, seed)
            for end, share, place in shares(folder, [".gpkg", ".shp"], count)
        }
    return {
        f"predict, {way}": kill_again_and_again(Prediction.make(place, way), place, share, seed)
        for way, share, place in shares(folder, list(WAYS), count)
    }


def shares(folder: Path, ways: list[str], count: int) -> list[tuple[str, int, Path]]:
    """Each way, how often it is tried, and a folder for it."""
    found = []
    for number, way in enumerate(ways):
        place = folder / f"way {number}"
        place.mkdir()
        found.append((way, count // len(ways) + (number < count % len(ways)), place))
    return found


def main() -> None:
    """Try, and print what held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=("kills", "powercut"))
    parser.add_argument("what", choices=("predict", "train", "vectorize"))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if (given.how, given.what) == ("powercut", "vectorize"):
        parser.error("vectorize keeps nothing to go on with")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = run_all(given.how, given.what, given.count, given.seed, Path(folder))
    for name, tally in found.items():
        print(f"{given.how} {name}: {tally.outcomes.total()} tried, {dict(tally.outcomes)}")
        for line, count in tally.lines.most_common():
            print(f"  {count} x {line}")
        for failure in tally.failures:
            print(f"  {failure}")
    sys.exit(any(tally.failures for tally in found.values()))


if __name__ == "__main__":
    main()
