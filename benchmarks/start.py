"""What `geoseg` costs before it works: commands on a scene of 64 x 64 pixels, over importing PyTorch and rasterio.

    python benchmarks/start.py              a raster-only prediction, and what is refused or described without PyTorch
    python benchmarks/start.py --rounds 9   the best of nine instead of five

Each round runs every command in a process of its own, one after the other, so that all meet the same load; the best
round of each counts. Seconds are wall time; `cpu` is the processor's time of all threads, which other programs disturb
less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
from rasterio.transform import from_origin

SIDE = 64
BARE = "import torch, rasterio"


class Cost(NamedTuple):
    """What a process took."""

    seconds: float
    """Wall time."""
    cpu: float
    """Time of the processor, in seconds."""


def make_scene(path: Path) -> Path:
    """Write a small RGB scene of noise."""
    values = np.random.default_rng(0).integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
    profile = {
        "driver": "GTiff", "count": 3, "dtype": "uint8", "photometric": "RGB", "crs": "EPSG:32617",
        "transform": from_origin(3e5, 4.3e6, 0.6, 0.6),
    }  # fmt: skip
    with rasterio.open(path, "w", height=SIDE, width=SIDE, **profile) as scene:
        scene.write(values)
    return path


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured: arguments of Python, by name."""
    scene = str(make_scene(folder / "scene.tif"))
    geoseg = ["-m", "geoseg"]
    raster_only = ["--no-polygons", "--no-preview", "--overwrite", "--quiet"]
    return {
        "import torch, rasterio": ["-c", BARE],
        "predict, raster only": [*geoseg, "predict", scene, "-o", str(folder), *raster_only],
        "predict": [*geoseg, "predict", scene, "-o", str(folder / "all"), "--overwrite", "--quiet"],
        "predict, wrong path": [*geoseg, "predict", "nothing.tif"],
        "predict, wrong option": [*geoseg, "predict", scene, "--tille", "512"],
        "train, wrong config": [*geoseg, "train", "nothing.yaml", "-o", str(folder)],
        "info": [*geoseg, "info", scene],
        "--help": [*geoseg, "--help"],
    }


def measure(arguments: list[str], folder: Path) -> Cost:
    """Run Python once, with compiled modules kept as an installation keeps them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(seconds, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wanted = commands(folder)
        costs: dict[str, list[Cost]] = {command: [] for command in wanted}
        for number in range(rounds + 1):
            for command, arguments in wanted.items():
                cost = measure(arguments, folder)
                if number:  # the first round compiles modules
                    costs[command].append(cost)
    best = {name: Cost(min(c.seconds for c in all_), min(c.cpu for c in all_)) for name, all_ in costs.items()}
    bare = next(iter(best.values()))
    print(f"{'':<24}{'seconds':>9}{'ratio':>7}{'cpu s':>8}{'ratio':>7}")
    for command, cost in best.items():
        wall, cpu = cost.seconds / bare.seconds, cost.cpu / bare.cpu
        print(f"{command:<24}{cost.seconds:>9.2f}{wall:>7.2f}{cost.cpu:>8.2f}{cpu:>7.2f}")


if __name__ == "__main__":
    main()
