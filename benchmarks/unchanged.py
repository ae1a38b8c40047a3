"""Whether another version of geoseg gives the same results, to the byte.

    python benchmarks/unchanged.py record VERSION OUT.json       what a version gives, as digests
    python benchmarks/unchanged.py compare BEFORE AFTER          exit code 1, and what differs, if anything does
    python benchmarks/unchanged.py list                          the runs and their commands

A VERSION is a folder with a package geoseg in it, such as a checkout; BEFORE and AFTER are such folders, or files of
`record`. Each version runs the same commands on the same scenes: everything that `predict`, `vectorize`, `evaluate`,
`tile`, `train` and `info` can be asked for, at least once. Scenes come from sample_data and from seeds. All of it is
done on the CPU, a thread each, so that a version always agrees with itself; digests are good for one machine and one
set of libraries. `--only 'train|tile'` takes the runs whose names fit that and those that they need, `--keep DIR` keeps
what was written and said. Two runs go on at once.

Files are compared as they are, and so are exit codes and what stands on standard output if it is JSON or of `info`.
Other words for people are not. Left out is nothing but

- times: `seconds` in JSON, in bundles, in metrics.csv and in TensorBoard events; when these were written and by which
  process; when a GeoPackage's style was written; how long it took in reports
- the paths of the package and of the folder in which all is made; fingerprints of class rasters and the key of a
  census, which are made of the latter
- the version: all are told that they are version 0
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import yaml
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import shapes
from rasterio.transform import from_origin
from safetensors import safe_open
from shapely import Polygon
from shapely.geometry import shape
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

ROOT = Path(__file__).resolve().parents[1]
PRELOADED = Path(__file__).with_name("preloaded.py")
AT_ONCE = 2
"""Runs that go on at the same time."""
ALONE = "--devices", "--scheduler", "--compile"
"""Options of commands that are not forked."""
MODIFIED = 1_750_000_000
"""When all inputs were changed last: STAC Items tell it where a scene doesn't say when it was taken."""
CLASS_NAMES = "background", "building", "road", "bare land", "forest", "water"

Found = dict[str, str]
"""Digests of what a run left, and its exit codes, by name."""


# ---------------------------------------------------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Run:
    """Commands that are run one after the other, and whose results are compared together."""

    name: str
    """Names the folder of its results, too."""
    commands: tuple[str, ...]
    """What follows `geoseg`; OUT stands for the folder of the results."""
    needs: tuple[str, ...] = ()
    """Runs whose results it reads."""
    kill_at: str = ""
    """The first command is killed as soon as its results hold a file with such a name."""


PREDICT = "predict --config usual.yaml -o OUT"
SCORES = "--scores OUT/scores.tif --confidence OUT/confidence.tif"
BARE = "--no-polygons --no-preview --no-stac"
WRONG = (
    "missing.tif",
    "small.tif --tile 8",
    "--tile no small.tif",
    "sixteen.tif",
    "list.txt --model missing.safetensors",
)
BUNDLES = {name: f"out/train {name}/{name}.safetensors" for name in ("local", "context", "refine", "settings")}


def all_runs() -> list[Run]:
    """Every run, those that others need first; the longest of them at the start."""
    fused = f"{PREDICT} small.tif --model '{BUNDLES['local']}' --compile --tile 128 {SCORES} {BARE}"
    compiled = Run("predict compiled", (fused,), ("train local",))
    return [*train_runs(), compiled, *predict_runs(), *vectorize_runs(), *other_runs(), *bundle_runs()]


def train_runs() -> list[Run]:
    """Runs that train."""
    return [
        *(Run(f"train {name}", (f"train {name}.yaml -o OUT --json",)) for name in BUNDLES),
        Run("train fine-tuned", ("train tuned.yaml -o OUT --init-from default --seed 3",)),
        Run(
            "train killed", ("train longer.yaml -o OUT", "train longer.yaml -o OUT --resume"), kill_at="checkpoint.ckpt"
        ),
        Run("train two processes", ("train local.yaml -o OUT --devices 2 --epochs 1",)),
        Run("train other tiles", ("train local.yaml -o OUT --epochs 1 --data sample_data/few.csv --device cpu",) * 2),
        Run("train frozen", ("train frozen.yaml -o OUT --epochs 1",), needs=("train local",)),
    ]


def predict_runs() -> list[Run]:
    """Runs that predict with the model that comes with geoseg."""
    area = "267800,4301100,267980,4301260"
    generalised = "--majority 3 --fill-holes 20px --min-area 9px --simplify 1px --smooth --connectivity 8"
    metres = "--fill-holes 8 --min-area 12.5 --simplify 0.9"
    again = f"{PREDICT} small.tif {BARE}"
    pattern = "'many/**/*.tif' --no-preview"
    killed = f"predict sample_data/scene.tif -o OUT --device cpu --tile 96 --overlap 32 {SCORES}"
    return [
        Run("predict sample", ("predict sample_data/scene.tif -o OUT --device cpu --json",)),
        Run("predict killed", (killed, f"{killed} --resume"), kill_at="*.seal"),
        Run("predict usual", (f"{PREDICT} small.tif {SCORES} --json",)),
        Run("predict generalised", (f"{PREDICT} small.tif {generalised} {SCORES}",)),
        Run("predict in metres", (f"{PREDICT} small.tif {metres} --dissolve --classes forest,5,road",)),
        Run("predict elsewhere", (f"{PREDICT} small.tif --to-crs EPSG:3857 --connectivity 4 --no-smooth",)),
        Run("predict area", (f"{PREDICT} small.tif --aoi 'areas.gpkg|layername=fields' {SCORES}",)),
        Run("predict box", (f"{PREDICT} small.tif --bbox {area} --min-area 30px",)),
        Run("predict mirrored", (f"{PREDICT} small.tif --tta flips --tta-scales 1,1.5 {SCORES} --scores-type uint8",)),
        Run("predict turned", (f"{PREDICT} small.tif --tta d4 --no-preview --no-stac {SCORES}",)),
        Run("predict bands", (f"{PREDICT} small.tif --bands 4,2,1 {SCORES} --no-polygons",)),
        Run("predict bf16", (f"{PREDICT}/named.tif small.tif --precision bf16 {SCORES}",)),
        Run("predict larger windows", (f"{PREDICT} small.tif --tile 224 --overlap 0 --batch-size 1 {SCORES}",)),
        Run("predict two processes", (f"{PREDICT} small.tif --devices 2 {SCORES}",)),
        Run("predict cluster", (f"{PREDICT} small.tif --scheduler local:2 {SCORES}",)),
        Run("predict sixteen bits", (f"{PREDICT} sixteen.tif --rescale 200,3000 {SCORES}",)),
        Run("predict nodata", (f"{PREDICT} sixteen.tif --nodata 700 --rescale 200,3000 {BARE}",)),
        Run("predict framed", (f"{PREDICT} framed.tif --nodata auto {SCORES}",)),
        Run("predict degrees", (f"{PREDICT} degrees.tif {SCORES} --min-area 20 --simplify 1",)),
        Run("predict degrees resampled", (f"{PREDICT} degrees.tif --resolution model {SCORES}",)),
        Run("predict resampled", (f"{PREDICT} coarse.tif --resolution 0.6 --simplify 1 {SCORES}",)),
        Run("predict nowhere", (f"{PREDICT} plain.png {SCORES}",)),
        Run("predict turned grid", (f"{PREDICT} turned.vrt",)),
        Run("predict folder", (f"{PREDICT} many --scores OUT/scores --confidence OUT/sure --json",)),
        Run("predict pattern", (f"{PREDICT} {pattern} --overwrite", f"{PREDICT} {pattern} --resume --json")),
        Run("predict list", (f"{PREDICT} list.txt --json --stac",)),
        Run("predict items", (f"{PREDICT} item.json small.tif --asset picture --json",)),
        Run("predict again", (again, again, f"{again} --resume --json", f"{again} --overwrite --tta flips")),
        Run("predict plan", (f"{PREDICT} small.tif --dry-run --json", "predict many -o OUT --dry-run -q")),
        Run("predict wrong", tuple(f"{PREDICT} {wrong}" for wrong in WRONG)),
    ]  # fmt: skip


def vectorize_runs() -> list[Run]:
    """Runs that make polygons of class rasters."""
    options = {
        "raw": "--check",
        "simplified": "--simplify 1px --min-area 9px --majority 5 --check --json",
        "smooth": "--smooth --fill-holes 30 --connectivity 8 --to-crs EPSG:4326",
        "few": "--classes 'road,bare land' --dissolve",
        "area": "--aoi 'areas.gpkg|layername=fields'",
        "box": "--bbox 267800,4301100,267980,4301260 --simplify 2",
    }
    formats = "gpkg", "geojson", "shp", "parquet", "fgb"
    ways = [f"vectorize classes.tif -o OUT/{name}.gpkg {given}" for name, given in options.items()]
    others = [f"vectorize {name} -o OUT/{name[:5]}.geojson" for name in ("sample_data/scene_labels.tif", "ids.tif")]
    return [
        Run("vectorize formats", tuple(f"vectorize classes.tif -o OUT/all.{end} --simplify 1px" for end in formats)),
        Run("vectorize ways", tuple(ways)),
        Run("vectorize others", (*others, others[0], f"{others[0]} --overwrite", "vectorize ids.tif -o OUT/a.doc")),
    ]


def other_runs() -> list[Run]:
    """Runs that score, cut tiles, and describe."""
    scored = "evaluate classes.tif --labels"
    commands = (
        f"{scored} labels.tif --json",
        f"{scored} labels.gpkg --layer ground --column what --json",
        f"{scored} labels.tif --boundary-px 0 --fail-under miou=0.2 --json",
        f"{scored} labels.tif --boundary-px 5 --fail-under iou.building=0.99 --fail-under kappa=0 --json",
        f"{scored} small.tif",
    )
    model = "evaluate --model default --data rgb.yaml --device cpu --precision fp32 --json"
    models = f"{model} --report OUT/report.html", f"{model} --split train --boundary-px 0"
    tiles = "tile settings.yaml -o OUT/a --size 96 --overlap 16 --json", "tile blocks.yaml -o OUT/b --min-labelled 0.3"
    shown = "small.tif", "sixteen.tif", "degrees.tif", "plain.png", "default", "sixteen.tif --json", "no.tif"
    return [
        Run("evaluate rasters", commands),
        Run("evaluate default", models),
        Run("tile", tiles),
        Run("info", tuple(f"info {scene}" for scene in shown)),
    ]


def bundle_runs() -> list[Run]:
    """Runs of the models that were trained."""
    runs = []
    for name, bundle in BUNDLES.items():
        predict = f"{PREDICT} small.tif --model '{bundle}' --tile 64 --overlap 16"
        evaluate = f"evaluate --model '{bundle}' --data {name}.yaml --device cpu --precision fp32 --json"
        needs = (f"train {name}",)
        runs += [
            Run(f"predict with {name}", (f"{predict} {SCORES}",), needs),
            Run(f"evaluate {name}", (f"{evaluate} --report OUT/report.html",), needs),
            Run(
                f"info of {name}",
                (f"info '{bundle}'", f"info '{bundle}' --json", f"info small.tif -m '{bundle}'"),
                needs,
            ),
        ]
        if name in ("context", "refine"):
            runs += [
                Run(f"predict alone with {name}", (f"{predict} {SCORES} {BARE} --no-context",), needs),
                Run(f"predict two processes with {name}", (f"{predict} {SCORES} {BARE} --devices 2",), needs),
                Run(f"predict holes with {name}", (f"{predict} {BARE} framed.tif --nodata auto",), needs),
                Run(f"evaluate alone {name}", (f"{evaluate} --no-context --split train",), needs),
            ]
    local, refine = BUNDLES["local"], BUNDLES["refine"]
    some = f"{PREDICT} small.tif --model '{refine}' --tile 64 --refine-fraction 0.4 {SCORES}"
    some_scored = f"evaluate --model '{refine}' --data refine.yaml --refine-fraction 0.4 --json"
    others = f"evaluate --model '{local}' --data local.yaml --tiles sample_data/few.csv --json"
    return [
        *runs,
        Run("predict some of refine", (some,), ("train refine",)),
        Run("evaluate some of refine", (some_scored,), ("train refine",)),
        Run("evaluate other tiles", (others,), ("train local",)),
    ]


def with_what_they_need(runs: list[Run], only: str) -> list[Run]:
    """Runs whose names fit a regular expression, and those that they need."""
    chosen = {run.name for run in runs if re.search(only, run.name)}
    needed = {name for run in runs if run.name in chosen for name in run.needs}
    return [run for run in runs if run.name in chosen | needed]


# -------------------------------------------------------------------------------------------------------------- inputs


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
        "refine": scene | QUICK | {"name": "refine", "refine": {"ratios": [2, 4], "channels": 8, "median_px": 3}},
        "settings": sample | QUICK | SETTINGS | {"name": "settings"},
    }
    for name, config in configs.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(config))


def read_config(name: str) -> dict[str, Any]:
    """A config of configs/, with its paths as from the folder of the runs."""
    text = (ROOT / "configs" / f"{name}.yaml").read_text("utf-8")
    config: dict[str, Any] = yaml.safe_load(text.replace("../sample_data", "sample_data"))
    return config


# ------------------------------------------------------------------------------------------------------------- running


def digests_of(version: Path, runs: list[Run], keep: Path | None = None) -> dict[str, Found]:
    """Run all with a version; digests by run."""
    folder = Path(tempfile.mkdtemp(prefix="unchanged-"))
    try:
        write_inputs(folder)
        environment = environment_of(version.resolve(), folder)
        check_version(version, folder, environment)
        return dict(run_all(runs, folder, environment, Cleaner(folder, version.resolve())))
    finally:
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        shutil.rmtree(folder)


def environment_of(version: Path, folder: Path) -> dict[str, str]:
    """Environment in which that version runs, believes to be version 0, and gives the same each time."""
    named = folder / "version" / "geoseg-0.dist-info"
    named.mkdir(parents=True)
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: geoseg\nVersion: 0\n")
    known = {
        "PYTHONPATH": os.pathsep.join((str(named.parent), str(version))),
        "CUDA_VISIBLE_DEVICES": "",
        "OGR_CURRENT_DATE": "2026-01-01T00:00:00Z",
        "TZ": "UTC",
        "COLUMNS": "120",
    }
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return os.environ | known | threads


def check_version(version: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """Make sure that it is this version which runs."""
    asked = [sys.executable, "-c", "import geoseg; print(geoseg.__file__, geoseg.__version__)"]
    said = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True)
    if said.stdout.split() != [str(version.resolve() / "geoseg" / "__init__.py"), "0"]:
        raise SystemExit(f"{version} is not what runs: {said.stdout}{said.stderr}")


def run_all(
    runs: list[Run], folder: Path, environment: Mapping[str, str], cleaner: Cleaner
) -> Iterator[tuple[str, Found]]:
    """Run all, two at once, each after what it needs."""
    started: dict[str, Future[Found]] = {}
    starters: Queue[Starter] = Queue()

    def work(run: Run) -> Found:
        for name in run.needs:
            started[name].result()
        starter = starters.get()
        try:
            return run_one(run, folder, starter, cleaner)
        finally:
            starters.put(starter)

    with ThreadPoolExecutor(AT_ONCE) as pool, ExitStack() as stack:
        for _ in range(AT_ONCE):
            starters.put(stack.enter_context(Starter(folder, environment)))
        for run in runs:
            started[run.name] = pool.submit(work, run)
        for name, future in started.items():
            yield name, future.result()


def run_one(run: Run, folder: Path, starter: Starter, cleaner: Cleaner) -> Found:
    """Run the commands of a run; digests of what they left and said, and exit codes."""
    out, found, begun = folder / "out" / run.name, Found(), time.monotonic()
    out.mkdir(parents=True)
    for number, command in enumerate(run.commands, start=1):
        arguments = [part.replace("OUT", f"out/{run.name}") for part in shlex.split(command)]
        said = folder / "said" / f"{run.name} {number}"
        kill_at = run.kill_at if number == 1 else ""
        code = starter.finish(arguments, said, lambda ending=kill_at: bool(ending and next(out.rglob(ending), None)))
        found[f"command {number}: exit code"] = str(code)
        if code == 0 and ("--json" in arguments or arguments[0] == "info"):
            found[f"command {number}: output"] = digest(cleaner.clean_said(said.read_bytes()))
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        found |= cleaner.digests(path, path.relative_to(out).as_posix())
    print(f"{run.name}: {len(found)} results in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return found


class Starter:
    """Starts commands one after the other: processes that have loaded all but geoseg, see `preloaded.py`.

    What starts processes of its own is started as a person would.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]):
        self._how: dict[str, Any] = {"cwd": folder, "env": environment, "text": True}
        (folder / "said").mkdir(exist_ok=True)

    def __enter__(self) -> Starter:
        process = [sys.executable, str(PRELOADED)]
        self._server = subprocess.Popen(process, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **self._how)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def finish(self, arguments: list[str], said: Path, is_time: Callable[[], bool]) -> int:
        """Exit code of a command, which is killed when it is time; what it says and its errors are kept."""
        if any(part in ALONE for part in arguments):
            return self._finish_alone(arguments, said)
        print(json.dumps([arguments, str(said), f"{said} errors"]), file=self._server.stdin, flush=True)
        child = int(self._server.stdout.readline())
        while not select.select([self._server.stdout], [], [], 0.005)[0]:
            if is_time():
                os.kill(child, signal.SIGKILL)
                break
        return int(self._server.stdout.readline())

    def _finish_alone(self, arguments: list[str], said: Path) -> int:
        with said.open("w") as output, Path(f"{said} errors").open("w") as errors:
            process = [sys.executable, "-m", "geoseg", *arguments]
            return subprocess.run(process, stdout=output, stderr=errors, **self._how).returncode


# ------------------------------------------------------------------------------------------------------------- digests


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Cleaner:
    """Takes from results what differs from run to run by nature."""

    folder: Path
    """Where all is made."""
    version: Path
    """Where the package lies."""

    def digests(self, path: Path, name: str) -> Found:
        """Digests of a file, of its parts where it has some that one would look at one by one."""
        if path.suffix == ".safetensors":
            return {f"{name}: {part}": digest(content) for part, content in self.clean_bundle(path).items()}
        if "tfevents" in path.name:
            return {re.sub(r"tfevents.*", "tfevents", name): digest(clean_events(path))}
        if path.suffix == ".npz":
            return {name: digest(clean_arrays(path))}
        return {name: digest(self.clean(path.read_bytes(), path))}

    def clean(self, content: bytes, path: Path) -> bytes:
        """A file's content without times, paths and fingerprints."""
        content = self.without_paths(content)
        if path.name == "metrics.csv":
            return clean_metrics(content)
        if path.suffix == ".html":
            return re.sub(rb"[\d.,]+ (min|s)(?= (on|for) )", b"a while", content)
        if path.suffix == ".gpkg":
            return re.sub(rb"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", b"some day", content)
        if path.suffix == ".tif":
            return re.sub(rb'("GEOSEG_FINGERPRINT"[^>]*>)[0-9a-f]{32}', rb"\1", content)
        return content

    def clean_said(self, said: bytes) -> bytes:
        """What a command said, without times and paths."""
        said = self.without_paths(said)
        try:
            return json.dumps(without_seconds(json.loads(said)), indent=1).encode()
        except ValueError:
            return re.sub(rb"(?m)^ *seconds: .*\n", b"", said)

    def clean_bundle(self, path: Path) -> dict[str, bytes]:
        """What a bundle says of its model, and its weights."""
        with safe_open(path, framework="np") as bundle:
            said = bundle.metadata()
            weights = b"".join(name.encode() + bundle.get_tensor(name).tobytes() for name in sorted(bundle.keys()))
        spec = self.clean_said(said.pop("geoseg").encode())
        return {"spec": spec, "other metadata": json.dumps(said, sort_keys=True).encode(), "weights": weights}

    def without_paths(self, content: bytes) -> bytes:
        """Something without the paths of this machine."""
        return content.replace(bytes(self.folder), b"HERE").replace(bytes(self.version), b"VERSION")


def without_seconds(values: Any) -> Any:
    """Values of JSON without what is called seconds."""
    if isinstance(values, dict):
        return {name: without_seconds(value) for name, value in values.items() if name != "seconds"}
    return [without_seconds(value) for value in values] if isinstance(values, list) else values


def clean_metrics(content: bytes) -> bytes:
    """A table of epochs without their seconds."""
    lines = csv.DictReader(io.StringIO(content.decode()))
    return json.dumps([{name: value for name, value in line.items() if name != "seconds"} for line in lines]).encode()


def clean_arrays(path: Path) -> bytes:
    """Arrays of a census without the key of the files that it is of."""
    with np.load(path) as arrays:
        return json.dumps({name: arrays[name].tolist() for name in arrays.files if name != "key"}).encode()


def clean_events(path: Path) -> bytes:
    """Events of TensorBoard without when they were written."""
    events = [
        (event.step, value.tag, value.SerializeToString().hex())
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if not value.tag.endswith("seconds")
    ]
    return json.dumps(events).encode()


# ----------------------------------------------------------------------------------------------------------- comparing


def found_in(source: Path, runs: list[Run], keep: Path | None = None) -> dict[str, Found]:
    """Digests of a version, or those that were recorded."""
    if source.is_dir():
        return digests_of(source, runs, keep)
    recorded: dict[str, Found] = json.loads(source.read_text("utf-8"))
    return {run.name: recorded[run.name] for run in runs if run.name in recorded}


def differences(before: dict[str, Found], after: dict[str, Found]) -> list[str]:
    """A line for each result that is not the same."""
    lines = []
    for run in sorted(before.keys() | after.keys()):
        one, other = before.get(run, {}), after.get(run, {})
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                lines.append(f"{run}: {name}: {how_different(name, one.get(name), other.get(name))}")
    return lines


def how_different(name: str, before: str | None, after: str | None) -> str:
    """Say in a word or two how a result differs."""
    if before is None or after is None:
        return "only after" if before is None else "only before"
    return f"{before} before, {after} after" if name.endswith("exit code") else "differs"


def compare(before: dict[str, Found], after: dict[str, Found]) -> bool:
    """Say what differs; whether anything does."""
    lines = differences(before, after)
    print("\n".join(lines) if lines else "nothing differs")
    print(f"{sum(map(len, after.values())):,} results of {len(after)} runs, {len(lines):,} of them differ")
    return bool(lines)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "compare", "list"))
    parser.add_argument("paths", nargs="*", type=Path, help="VERSION OUT.json, or BEFORE AFTER")
    parser.add_argument(
        "--only", default="", help="runs whose names fit this regular expression, and those that they need"
    )
    parser.add_argument("--keep", type=Path, help="folder for what was written, in before/ and after/")
    arguments = parser.parse_args()
    if len(arguments.paths) != (0 if arguments.what == "list" else 2):
        parser.error("record takes VERSION OUT.json, compare takes BEFORE AFTER, list nothing")
    return arguments


def main() -> None:
    """Record, or compare."""
    arguments = parse_arguments()
    runs = with_what_they_need(all_runs(), arguments.only)
    if arguments.what == "list":
        print("\n".join(f"{run.name}\n" + "\n".join(f"    geoseg {line}" for line in run.commands) for run in runs))
        return
    before, after = arguments.paths
    keep = [None, None] if arguments.keep is None else [arguments.keep / name for name in ("before", "after")]
    found = found_in(before, runs, keep[0])
    if arguments.what == "record":
        after.write_text(json.dumps(found, indent=1, sort_keys=True), "utf-8")
    elif compare(found, found_in(after, runs, keep[1])):
        sys.exit(1)


if __name__ == "__main__":
    main()
