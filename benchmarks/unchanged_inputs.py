"""Scenes, labels, class rasters and configs for the runs of `unchanged.py`, made from sample_data and from seeds."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import yaml
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import shapes
from rasterio.transform import from_origin
from shapely import Polygon
from shapely.geometry import shape

ROOT = Path(__file__).resolve().parents[1]
MODIFIED = 1_750_000_000
"""When all inputs were changed last: STAC Items tell it where a scene doesn't say when it was taken."""
CLASS_NAMES = "background", "building", "road", "bare land", "forest", "water"
BUNDLES = {name: f"out/train {name}/{name}.safetensors" for name in ("local", "context", "refine", "settings")}
"""Bundles of the training runs, by name."""


def write_inputs(folder: Path) -> None:
    """Write all that the runs read."""
    warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a scene without coordinates is wanted
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    write_scenes(folder)
    write_many(folder)
    write_classes(folder)
    write_configs(folder)
    for path in folder.rglob("*"):
        os.utime(path, (MODIFIED, MODIFIED))


def part_of(raster: Path, row: int, col: int, height: int, width: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Values (bands, height, width) of a part of a raster, and where it lies."""
    window = rasterio.windows.Window(col, row, width, height)
    with rasterio.open(raster) as dataset:
        return dataset.read(window=window), {"crs": dataset.crs, "transform": dataset.window_transform(window)}


def write_raster(
    path: Path, values: np.ndarray, bands: tuple[str, ...] = (), driver: str = "GTiff", **grid: Any
) -> None:
    """Write (bands, h, w) values."""
    path.parent.mkdir(exist_ok=True, parents=True)
    count, height, width = values.shape
    with rasterio.open(path, "w", driver, width, height, count, dtype=values.dtype, **grid) as raster:
        raster.write(values)
        if bands:
            raster.colorinterp = [getattr(rasterio.enums.ColorInterp, name, "undefined") for name in bands]


def write_scenes(folder: Path) -> None:
    """Write a part of the sample scene in many guises."""
    rng = np.random.default_rng(0)
    values, grid = part_of(folder / "sample_data" / "scene.tif", 420, 300, 320, 400)
    write_raster(folder / "small.tif", values, **grid)
    rgb = values[:3]
    sixteen = (rgb.astype(int) * 11 + 200 + rng.integers(0, 30, rgb.shape)).astype(np.uint16)
    sixteen[:, 40:90, 100:260] = 0
    alpha = np.full((1, 320, 400), 65_535, np.uint16)
    alpha[:, 250:, :70] = 0
    bands = "red", "green", "blue", "alpha"
    write_raster(folder / "sixteen.tif", np.concatenate([sixteen, alpha]), bands, nodata=0, **grid)
    framed = np.full_like(values, 255)
    framed[:, 30:-60, 45:-20] = values[:, 30:-60, 45:-20]
    write_raster(folder / "framed.tif", framed, **grid)
    degrees = {"crs": "EPSG:4326", "transform": from_origin(-83.67, 38.83, 6.9e-6, 5.4e-6)}
    write_raster(folder / "degrees.tif", rgb, **degrees)
    coarse = grid | {"transform": grid["transform"] @ grid["transform"].scale(2)}
    write_raster(folder / "coarse.tif", rgb[:, ::2, ::2], **coarse)
    write_raster(folder / "plain.png", rgb, driver="PNG")
    turned = grid["transform"] @ grid["transform"].rotation(20)
    write_raster(folder / "turned.tif", rgb[:, :200, :200], crs=grid["crs"], transform=turned)
    rasterio.shutil.copy(folder / "turned.tif", folder / "turned.vrt", driver="VRT")


def write_many(folder: Path) -> None:
    """Write small scenes in folders, a list of them, and a STAC Item."""
    scene = folder / "sample_data" / "scene.tif"
    for name, row in {"one.tif": 0, "two.tif": 150, "further/one.tif": 600}.items():
        values, grid = part_of(scene, row, 500, 120, 150)
        write_raster(folder / "many" / name, values, **grid)
    (folder / "many" / "notes.md").write_text("no scene")
    (folder / "list.txt").write_text("many/one.tif\n# a remark\nmany/gone.tif\nmany/further/one.tif\n")
    assets = {
        "picture": {"href": "many/two.tif", "type": "image/tiff"},
        "other": {"href": "a.tif", "type": "image/tiff"},
    }
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "from-an-item", "geometry": None, "links": [],
        "properties": {"datetime": "2020-05-01T10:00:00Z"}, "assets": assets,
    }  # fmt: skip
    (folder / "item.json").write_text(json.dumps(item))


def write_classes(folder: Path) -> None:
    """Write class rasters, labels for them as a raster and as polygons, and areas of interest."""
    labels, grid = part_of(folder / "sample_data" / "scene_labels.tif", 420, 300, 320, 400)
    classes = np.roll(labels, (2, -1), (1, 2))
    classes[:, 100:130, :200] = 255
    labels[:, 200:, 350:] = 255
    write_raster(folder / "classes.tif", classes, nodata=255, **grid)
    write_raster(folder / "labels.tif", labels, nodata=255, **grid)
    with rasterio.open(folder / "classes.tif", "r+") as raster:
        raster.write_colormap(1, {i: (40 * i, 250 - 30 * i, 90, 255) for i in range(6)})
        raster.update_tags(GEOSEG_CLASSES=json.dumps(read_config("sample")["classes"]))
    write_raster(folder / "ids.tif", labels.astype(np.int16)[:, ::4, ::4] + 300)
    found = [(shape(outline), int(value)) for outline, value in shapes(labels[0], transform=grid["transform"])]
    known = [(outline, CLASS_NAMES[value], 3) for outline, value in found if value != 255]
    table = geopandas.GeoDataFrame(
        {"what": [name for _, name, _ in known], "sure": [3] * len(known)},
        geometry=[outline for outline, *_ in known],
        crs=grid["crs"],
    )
    table.to_file(folder / "labels.gpkg", layer="ground")
    left, top = grid["transform"] @ (40, 30)
    corners = [(left, top), (left + 150, top - 20), (left + 90, top - 130), (left + 20, top - 100)]
    areas = geopandas.GeoDataFrame(geometry=[Polygon(corners)], crs=grid["crs"]).to_crs("EPSG:4326")
    areas.to_file(folder / "areas.gpkg", layer="fields")
    areas.to_file(folder / "areas.gpkg", layer="others")


SMALL_UNET = {
    "architecture": "unet",
    "encoder": "tu-test_resnet",
    "arguments": {"encoder_depth": 3, "decoder_channels": [16, 16, 8]},
    "multiple": 8,
}
QUICK = {
    "network": SMALL_UNET, "epochs": 2, "windows_per_epoch": 96, "batch_size": 8, "window": 64, "ema": 0.9, "tile": 64,
    "overlap": 16, "device": "cpu", "precision": "fp32",
}  # fmt: skip
CONTEXT = {
    "levels": [{"ratio": 4, "size": 32}, {"ratio": "scene", "size": 16}],
    "network": SMALL_UNET,
    "channels": 4,
}
SETTINGS: dict[str, Any] = {
    "data": {
        "scenes": [{"image": "small.tif", "label": "labels.gpkg"}],
        "label_column": "what",
        "label_layer": "ground",
        "label_values": {"building": 7, "road": "ways", "forest": "forest", "water": "ignore", "other": "rest"},
        "split": {"by": "blocks", "block_px": 96, "val_share": 0.3, "guard_px": 8, "seed": 4},
        "bands": ["nir", "red", "green"],
        "band_indexes": [4, 1, 2],
        "resolution_m": 0.6,
        "class_balance": 0.7,
        "memory_mb": 0,
    },
    "classes": [
        {"id": 7, "name": "house", "color": "#aa0000"},
        {"id": 2, "name": "ways", "color": "#888888"},
        {"id": 3, "name": "forest", "color": "#008800"},
        {"id": 0, "name": "rest", "color": "#ccccaa"},
    ],
    "frozen_epochs": 1,
    "loss": {
        "cross_entropy": 0.5, "ohem": 0.5, "focal": 0.3, "dice": 0.2, "jaccard": 0.4, "tversky": 0.3, "lovasz": 0.2,
        "auxiliary": 0.3, "class_weights": "median_frequency", "label_smoothing": 0.05,
    },
    "optimizer": {"name": "sgd", "learning_rate": 0.02, "encoder_rate": 0.5, "momentum": 0.8, "accumulate": 2},
    "schedule": {"name": "poly", "warmup": 0.2, "power": 0.8},
    "augment": {"cutmix": 0.3, "cutout": 0.2, "warp": 0.8, "noise": 0.05, "blur_px": 2.0, "scale": [0.8, 1.2]},
    "boundary_px": 2,
    "seed": 11,
    "window": 32,
}  # fmt: skip


def write_configs(folder: Path) -> None:
    """Write settings of predictions and trainings, the latter after those in configs/, with small networks."""
    usual = {"device": "cpu", "precision": "fp32", "tile": 128, "overlap": 32, "batch_size": 4}
    (folder / "usual.yaml").write_text(yaml.safe_dump(usual))
    lines = (folder / "sample_data" / "tiles.csv").read_text().splitlines()
    (folder / "sample_data" / "few.csv").write_text("\n".join([lines[0], *lines[1:6], *lines[-2:]]))
    sample, scene = read_config("sample"), read_config("context")
    del scene["context"]
    rgb = {"data": sample["data"] | {"bands": ["red", "green", "blue"]}}
    blocks = scene | QUICK | {"data": scene["data"] | {"split": {"by": "blocks", "block_px": 128}}}
    default = read_config("landcover-naip-rgb")["network"]
    frozen = {"name": "frozen", "context": CONTEXT | {"freeze_local": True}, "init_from": BUNDLES["local"]}
    configs: dict[str, dict[str, Any]] = {
        "local": sample | QUICK | {"name": "local"},
        "longer": sample | QUICK | {"name": "longer", "epochs": 4},
        "rgb": sample | QUICK | rgb,
        "tuned": sample | QUICK | rgb | {"network": default, "windows_per_epoch": 16, "epochs": 1, "tile": 192},
        "blocks": blocks,
        "context": scene | QUICK | {"context": CONTEXT},
        "frozen": sample | QUICK | frozen,
        "refine": scene | QUICK | {"name": "refine", "refine": {"ratios": [2, 4], "channels": 8}},
        "settings": sample | QUICK | SETTINGS | {"name": "settings"},
    }
    for name, config in configs.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))


def read_config(name: str) -> dict[str, Any]:
    """A config of configs/, with its paths as from the folder of the runs."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text("utf-8")
    config: dict[str, Any] = yaml.safe_load(text.replace("../sample_data", "sample_data"))
    return config
