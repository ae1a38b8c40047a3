"""A model that a user has trained with TorchGeo, classified by geoseg: two commands, and how far their maps agree.

    python benchmarks/torchgeo_model.py --work DIR                         makes an environment, DIR/env, with pip
    python benchmarks/torchgeo_model.py --work DIR --python ENV/bin/python takes one that has TorchGeo

TorchGeo trains in an environment of its own (torchgeo_training.py) on the tiles of sample_data/ and writes Lightning's
checkpoint; geoseg runs in this interpreter. The class raster is compared with the argmax of TorchGeo's own forward
pass over the whole scene, which pads its edges with zeros where geoseg mirrors the scene: so those are counted apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio

PACKAGES = "torchgeo==0.8.1", "torch==2.14.1", "torchvision==0.29.1", "requests"
"""What the environment holds; TorchGeo 0.8.1 imports requests without asking for it."""
SAMPLES = Path(__file__).parents[1] / "sample_data"
SAID = {
    "bands": "red,green,blue,nir",
    "dtype": "uint8",
    "mean": "0",
    "std": "255",
    "classes": "background,building,road,bare land,forest,water",
    "resolution": "0.6",
    "licence": "CC0-1.0",
}
"""What a checkpoint of TorchGeo does not say, as options of `geoseg import`."""
EDGE_PX = 128
"""Pixels along the edges that depend most on what the network takes to lie beyond them."""
CLEAR = 0.01
"""Least lead of the best class over the second, in probability, of a pixel that arithmetic alone does not turn."""


@dataclass(frozen=True)
class Agreement:
    """Shares of pixels to which both give the same class."""

    all: float
    """Of the whole scene."""
    inside: float
    """Of the pixels that are not near an edge."""
    clear: float
    """Of those inside whose class leads clearly."""
    polygons: int
    """Polygons that were written."""


def environment(folder: Path) -> Path:
    """The interpreter of an environment with TorchGeo, which is made where it is missing."""
    python = folder / "bin" / "python"
    if not python.is_file():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def train(python: Path, folder: Path, *options: str) -> None:
    """Train with TorchGeo; the folder then holds its checkpoint and its own logits."""
    script = Path(__file__).with_name("torchgeo_training.py")
    subprocess.run([python, script, SAMPLES, folder, *options], check=True)


def commands(folder: Path) -> tuple[list[str], list[str]]:
    """The two commands from a checkpoint to a map."""
    options = [word for name, value in SAID.items() for word in (f"--{name}", value)]
    bundle = str(folder / "m.safetensors")
    return (
        ["import", str(folder / "last.ckpt"), "-o", bundle, *options],
        ["predict", str(SAMPLES / "scene.tif"), "-m", bundle, "-o", str(folder / "map"), "--precision", "fp32"],
    )


def compare(folder: Path) -> Agreement:
    """How far geoseg's class raster agrees with TorchGeo's logits (K, H, W)."""
    import geopandas

    with rasterio.open(folder / "map" / "scene_landcover.tif") as raster:
        ids = raster.read(1)
    logits = np.load(folder / "logits.npy")
    powers = np.exp(logits - logits.max(0))
    second, best = np.sort(powers / powers.sum(0), axis=0)[-2:]
    same, inside = ids == logits.argmax(0), np.s_[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
    clear = (best - second)[inside] >= CLEAR
    polygons = len(geopandas.read_file(folder / "map" / "scene_landcover.gpkg"))
    shares = same.mean(), same[inside].mean(), same[inside][clear].mean()
    return Agreement(*map(float, shares), polygons)


def main() -> None:
    """Train, import, predict, compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for the environment, the model and the map")
    parser.add_argument("--python", type=Path, help="interpreter of an environment with TorchGeo")
    parser.add_argument("--model", default="unet")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--steps", default="60")
    given = parser.parse_args()
    folder = given.work / given.model
    python = given.python or environment(given.work / "env")
    train(python, folder, "--model", given.model, "--backbone", given.backbone, "--steps", given.steps)
    for words in commands(folder):
        subprocess.run([sys.executable, "-m", "geoseg", *words, "--overwrite"], check=True)
    found = compare(folder)
    versions = json.loads((folder / "versions.json").read_text())
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"| {given.model} | {found.all:.3%} | {found.inside:.3%} | {found.clear:.3%} | {found.polygons:,} |")


if __name__ == "__main__":
    main()
