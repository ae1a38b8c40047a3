"""Whether `--adapt` and `--match` gain on imagery that has shifted, and lose nothing where it has not.

    python benchmarks/adapt_scenes.py TILES.csv --work DIR

TILES.csv lists labelled tiles of one size (image, label, split) of what the default model knows: NAIP imagery of Ohio
at 0.6 m with near infrared as the fourth band. The validation tiles become two scenes, every second tile side by side
in each: on the one a share is chosen, on the other all ways are scored. Their values are shifted in known ways:
brightness, haze, a gain per band, a drier season (where near infrared shows plants, red rises and green falls). The
four tiles with most forest of each are a scene as they are, too: its mix of land is not that of training. The reference
of `--match` is a mosaic of every fourth training tile. What is measured is kept in DIR: the same command goes on where
it was stopped, and prints the tables.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from geoseg.commands.predict import predict
from geoseg.models.bundle import load_model
from geoseg.models.model import Model

Bytes = NDArray[np.uint8]
IGNORE = 255
FOREST = 4
"""Class id of forest."""
WOODS = ", woods"
"""What ends the name of a scene of the tiles with most forest."""
SHARES = 0.1, 0.2, 0.5, 0.9, 1.0


def shifted(values: NDArray[Any]) -> Bytes:
    """Values as a camera stores them; 0 stays free."""
    return np.rint(values).clip(1, 255).astype(np.uint8)


def per_band(*factors: float) -> NDArray[np.float64]:
    """Numbers for red, green and blue."""
    return np.array(factors)[:, None, None]


def drier(image: Bytes) -> Bytes:
    """Plants with more red and less green, by how much of a plant a pixel is."""
    red, infrared = image[0].astype(float), image[3].astype(float)
    plants = ((infrared - red) / (infrared + red + 1e-6) / 0.4).clip(0, 1)
    return shifted(image[:3] * (1 + plants * per_band(0.35, -0.05, 0.05)))


SHIFTS: dict[str, Callable[[Bytes], Bytes]] = {
    "as they are": lambda image: image[:3],
    "brightness × 0.7": lambda image: shifted(image[:3] * 0.7),
    "brightness × 0.5": lambda image: shifted(image[:3] * 0.5),
    "haze (× 0.55, + 86 to 109)": lambda image: shifted(image[:3] * 0.55 + per_band(86, 95, 109)),
    "gain (red × 1.25, blue × 0.75)": lambda image: shifted(image[:3] * per_band(1.25, 1.0, 0.75)),
    "drier season": drier,
}
RAW: dict[str, Any] = {"rescale": None}
WAYS: dict[str, dict[str, Any]] = {
    "nothing": RAW,
    "--rescale auto": {},
    **{f"bn {share:g}": RAW | {"adapt": "bn", "adapt_share": share} for share in SHARES},
    "entropy": RAW | {"adapt": "entropy"},
    "bn, --rescale auto": {"adapt": "bn"},
    "moments": {"match_by": "moments"},
    "histogram": {"match_by": "histogram"},
}
CHOOSING = [name for name, settings in WAYS.items() if settings is RAW or "adapt_share" in settings]


def read(path: Path) -> Bytes:
    """All bands of a raster (C, h, w)."""
    with rasterio.open(path) as raster:
        found: Bytes = raster.read()
    return found


def mosaic(files: Sequence[Path], across: int) -> Bytes:
    """Rasters (C, h, w) of one size side by side, `across` in a row; the last row is filled from the first tile on."""
    arrays = [read(file) for file in files]
    arrays += arrays[: -len(arrays) % across]
    rows = [np.concatenate(arrays[first : first + across], axis=2) for first in range(0, len(arrays), across)]
    return np.concatenate(rows, axis=1)


def write(path: Path, values: Bytes) -> Path:
    """Write values (C, h, w) at 0.6 m."""
    count, height, width = values.shape
    place = {"crs": "EPSG:26917", "transform": from_origin(300_000, 4_300_000, 0.6, 0.6)}
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", **place) as raster:
        raster.write(values)
    return path


def mean_iou(found: Bytes, labels: Bytes, count: int) -> float:
    """Mean IoU of the classes that are labelled."""
    held = labels != IGNORE
    pairs = np.bincount(labels[held].astype(int) * count + found[held], minlength=count * count).reshape(count, count)
    union = pairs.sum(axis=0) + pairs.sum(axis=1) - pairs.diagonal()
    return float((pairs.diagonal() / np.maximum(union, 1))[pairs.sum(axis=1) > 0].mean())


class Study:
    """Scores by scene, shift and way, kept in a folder."""

    def __init__(self, tiles: Path, work: Path):
        with tiles.open(newline="") as file:
            lines = list(csv.DictReader(file))
        files: dict[str, list[tuple[Path, Path]]] = {"train": [], "val": []}
        for line in lines:
            pair = tiles.parent / line["image"], tiles.parent / line["label"]
            files.setdefault(line["split"], []).append(pair)
        work.mkdir(parents=True, exist_ok=True)
        self._work, self._kept, self._model = work, work / "scores.json", load_model(None)
        self._reference = write(work / "reference.tif", mosaic([image for image, _ in files["train"][::4]], 6)[:3])
        self._scenes = {}
        for first, name in enumerate(("choosing", "scoring")):
            parts = files["val"][first::2]
            woods = sorted(parts, key=lambda pair: -int((read(pair[1]) == FOREST).sum()))[:4]
            for scene, pairs in ((name, parts), (name + WOODS, woods)):
                self._scenes[scene] = [mosaic(list(one), 4) for one in zip(*pairs, strict=True)]
        self.scores: dict[str, float] = json.loads(self._kept.read_text()) if self._kept.exists() else {}

    def score(self, scene: str, shift: str, way: str) -> float:
        """Mean IoU, measured unless it is kept."""
        key = f"{scene} | {shift} | {way}"
        if key not in self.scores:
            image, labels = self._scenes[scene]
            settings = WAYS[way] | ({"match": self._reference} if "match_by" in WAYS[way] else {})
            path = write(self._work / "scene.tif", SHIFTS[shift](image))
            found = self._classes(path, self._model, settings)
            self.scores[key] = mean_iou(found, labels[0], len(self._model.spec.classes))
            self._kept.write_text(json.dumps(self.scores, indent=1, ensure_ascii=False))
            print(f"{key}: {self.scores[key]:.3f}", flush=True)
        return self.scores[key]

    def _classes(self, path: Path, model: Model, settings: dict[str, Any]) -> Bytes:
        result = predict(
            path, self._work / "out", model=model, polygons=False, preview=False, stac=False, overwrite=True, **settings
        )
        return read(result.paths["landcover"])[0]

    def table(self, scene: str, ways: Sequence[str]) -> str:
        """Scores of a scene, a line for each shift, their means, and scores of its woods alone."""
        rows = [[self.score(scene, shift, way) for way in ways] for shift in SHIFTS]
        woods = [self.score(scene + WOODS, next(iter(SHIFTS)), way) for way in ways]
        named = [*zip(SHIFTS, rows, strict=True), ("mean", np.mean(rows, axis=0)), ("woods, as they are", woods)]
        lines = [f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |" for name, row in named]
        return "\n".join([f"| {scene} | " + " | ".join(ways) + " |", "|---" * (len(ways) + 1) + "|", *lines])


def main() -> None:
    """Measure what is lacking, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tiles", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    given = parser.parse_args()
    study = Study(given.tiles, given.work)
    tables = [study.table("scoring", list(WAYS)), study.table("choosing", CHOOSING)]
    print("\n\n".join(["", *tables]))


if __name__ == "__main__":
    main()
