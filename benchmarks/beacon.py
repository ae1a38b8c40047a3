"""Scenes in which a class cannot be told from near by: the beacon task.

Small blobs look all the same. A blob belongs to the class whose colour the nearest beacon has, and that stands at least
a window's side away. A network that sees a window of 32 pixels finds the blobs and guesses their class: its mean IoU
ends near 0.55, because two of three classes are told by a coin.

    python benchmarks/beacon.py FOLDER      # writes the scenes and their list, tiles.csv
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

GROUND, BLOB = (118, 122, 104), (176, 148, 112)
BEACONS = (206, 60, 52), (58, 84, 204)
"""Colour of the beacons of classes 1 and 2; they are background themselves, as is the ground."""
CLASSES = [
    {"id": 0, "name": "ground", "color": "#c8d6a0"},
    {"id": 1, "name": "of red beacons", "color": "#d7301f"},
    {"id": 2, "name": "of blue beacons", "color": "#2b5fd0"},
]


@dataclass(frozen=True)
class Task:
    """How hard it is."""

    side: int = 512
    """Side of a scene, in pixels."""
    beacons: int = 4
    """Beacons in a scene, each red or blue by the toss of a coin."""
    beacon_px: int = 12
    """Radius of a beacon."""
    blobs: int = 60
    """Blobs in a scene, some of which find no place."""
    blob_px: tuple[int, int] = (4, 10)
    """Smallest and largest radius of a blob."""
    apart_px: int = 76
    """Least distance of a blob from the nearest beacon."""


def make_scene(task: Task, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a scene (3, side, side) and its class ids (side, side)."""
    image = np.full((task.side, task.side, 3), GROUND, np.float32)
    labels = np.zeros((task.side, task.side), np.uint8)
    beacons = rng.integers(task.beacon_px, task.side - task.beacon_px, (task.beacons, 2))
    kinds = rng.integers(0, 2, task.beacons)
    for _ in range(task.blobs):
        row, col = rng.integers(0, task.side, 2)
        radius = rng.integers(*task.blob_px, endpoint=True)
        distances = np.hypot(*(beacons - (row, col)).T)
        inside = disc(task.side, row, col, radius)
        if distances.min() >= task.apart_px and not labels[inside].any():
            image[inside], labels[inside] = BLOB, 1 + kinds[distances.argmin()]
    for (row, col), kind in zip(beacons, kinds, strict=True):
        image[disc(task.side, row, col, task.beacon_px)] = BEACONS[kind]
    noisy = image + rng.normal(0, 10, image.shape)
    return np.moveaxis(noisy.clip(0, 255).astype(np.uint8), 2, 0), labels


def disc(side: int, row: int, col: int, radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels of a disc that lie in a square raster."""
    rows, cols = np.mgrid[row - radius : row + radius + 1, col - radius : col + radius + 1]
    inside = (
        (np.hypot(rows - row, cols - col) <= radius) & (np.minimum(rows, cols) >= 0) & (np.maximum(rows, cols) < side)
    )
    return rows[inside], cols[inside]


def write_scenes(folder: Path, task: Task, counts: dict[str, int], seed: int = 0) -> Path:
    """Write so many scenes for each split (train, val), far apart from each other, and give the CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines, rng = ["image,label,split"], np.random.default_rng(seed)
    for split, count in counts.items():
        for number in range(count):
            name = f"{split}_{number:03d}"
            image, labels = make_scene(task, rng)
            left = 2.0 * task.side * len(lines)
            _write(folder / f"{name}.tif", image, left)
            _write(folder / f"{name}_labels.tif", labels[None], left)
            lines.append(f"{name}.tif,{name}_labels.tif,{split}")
    path = folder / "tiles.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write(path: Path, values: NDArray[np.uint8], left: float) -> None:
    profile: dict[str, Any] = {"crs": "EPSG:32617", "transform": from_origin(300_000 + left, 4_300_000, 1, 1)}
    count, height, width = values.shape
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", compress="deflate", **profile) as file:
        file.write(values)


if __name__ == "__main__":
    print(write_scenes(Path(sys.argv[1]), Task(), {"train": 60, "val": 8}))
