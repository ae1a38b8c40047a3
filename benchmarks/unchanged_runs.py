"""The runs that `unchanged.py` compares: commands of geoseg, with every option at least once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unchanged_inputs import BUNDLES


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
