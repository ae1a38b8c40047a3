"""Maps of the region that a model did not learn, way by way, beside the image and its labels.

In: the study, and ways. Out: a picture for each direction, with a row for each of the tiles whose labels are most
mixed. A way whose model was not kept is trained once more, with the first seed. Windows overlap; those of the study lie
side by side, to save time.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from context_study.pictures import stack
from numpy.typing import NDArray
from PIL import Image

from geoseg import predict
from geoseg.spec import IGNORE, TrainSpec

from .study import Study

SIZE_PX = (260, 220)
"""Width and height of a map."""
OVERLAP_PX = 96
ROWS = 2
"""Tiles in a picture."""


def write_pictures(study: Study, ways: Sequence[str]) -> list[Path]:
    """Write a JPEG for each direction: image, labels, and the map of each way."""
    found = []
    for direction, ends in study.table["directions"].items():
        arms = [f"{direction}: {way}" for way in ways]
        spec = study.spec(arms[0], 0)
        tiles = _most_mixed(spec, study.table["regions"][ends["target"]])
        rows = [_row(study, arms, spec, image, labels) for image, labels in tiles]
        path = study.folder / f"{'-'.join(direction.lower().split())}.jpg"
        stack(rows, axis=0).save(path, quality=88)
        found.append(path)
    return found


def _most_mixed(spec: TrainSpec, legend: Mapping[Any, str]) -> list[tuple[Path, NDArray[np.uint8]]]:
    """Images and class indexes (H, W) of the validation tiles whose classes are most alike in number."""
    with Path(spec.data.tiles).open(newline="", encoding="utf-8") as file:  # type: ignore[arg-type]
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    names = [of.name for of in spec.classes]
    read = [(Path(row["image"]), _classes(Path(row["label"]), legend, names)) for row in rows]
    return sorted(read, key=lambda pair: -_entropy(pair[1], len(names)))[:ROWS]


def _classes(path: Path, legend: Mapping[Any, str], names: Sequence[str]) -> NDArray[np.uint8]:
    with rasterio.open(path) as raster:
        values = raster.read()
    found = np.full(values.shape[1:], IGNORE, np.uint8)
    for value, name in legend.items():
        if name in names:
            found[_holds(values, value)] = names.index(name)
    return found


def _holds(values: NDArray[np.uint8], value: Any) -> NDArray[np.bool_]:
    if isinstance(value, int):
        return values[0] == value
    colour = np.frombuffer(bytes.fromhex(value.lstrip("#")), np.uint8)
    return (values[:3] == colour[:, None, None]).all(axis=0)


def _entropy(classes: NDArray[np.uint8], count: int) -> float:
    shares = np.bincount(classes[classes != IGNORE], minlength=count) / max(1, classes.size)
    return -float((shares * np.log(shares.clip(1e-9))).sum())


def _row(study: Study, arms: Sequence[str], spec: TrainSpec, image: Path, labels: NDArray[np.uint8]) -> Image.Image:
    colours = np.full((256, 3), 255, np.uint8)
    for index, of in enumerate(spec.classes):
        colours[index] = np.frombuffer(bytes.fromhex(of.color.lstrip("#")), np.uint8)
    with rasterio.open(image) as raster:
        photograph = np.moveaxis(raster.read()[:3], 0, -1)
    maps = [_map(study, arm, image) for arm in arms]
    drawn = [Image.fromarray(photograph), *(Image.fromarray(colours[found]) for found in (labels, *maps))]
    return stack([one.resize(SIZE_PX, Image.Resampling.LANCZOS if one is drawn[0] else 0) for one in drawn], axis=1)


def _map(study: Study, arm: str, image: Path) -> NDArray[np.uint8]:
    """Class indexes (H, W) of an image by the model of a way."""
    model, settings = study.model(arm, 0)
    given = dict(settings, overlap=OVERLAP_PX, device="cpu", polygons=False, preview=False, stac=False)
    result = predict(image, study.folder / "maps", model=model, overwrite=True, **given)
    with rasterio.open(result.paths["landcover"]) as raster:
        found: NDArray[np.uint8] = raster.read(1)
    return found
