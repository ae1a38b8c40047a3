"""Land cover as an aerial camera sees it, in which bare soil is a field or a quarry's by what lies far away.

Sites lie in a country of pastures, woods, ponds, roads and houses: farms amid striped crops, and quarries with pits,
spoil heaps and sheds. Bare parcels lie at least ``reach_px`` from every site, and belong to the class of the nearest.
One function, which does not know the class, draws colour, texture and outline of all bare parcels, and parcels of both
classes come in pairs of like size: what a pixel sees within ``reach_px`` holds nothing of its class. A network that
sees no farther finds the bare parcels and guesses their class by a coin: IoU 1/3 for each of the two, and 1 at best.

    python benchmarks/quarries.py FOLDER --scenes 20 --reach 400      # scenes, their list tiles.csv, and previews
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import rasterio
from landscape.camera import photographed, roughened
from landscape.drawing import (
    draw_barns,
    draw_farm,
    draw_hamlets,
    draw_land,
    draw_quarry,
    draw_roads,
    draw_waters,
    grassland,
    plant_trees,
)
from landscape.layout import Plan, blob, make_plan
from landscape.surfaces import Look, Sheet
from landscape.task import (
    CLASSES,
    FARM,
    GRASS,
    GREENS,
    PIXEL_M,
    Scene,
    Task,
)
from numpy.typing import NDArray
from PIL import Image, ImageColor
from rasterio.transform import from_origin


def make_scene(task: Task, rng: np.random.Generator) -> Scene:
    """Draw a scene; the same task and state of the generator give the same."""
    return draw_scene(task, make_plan(task, rng), rng)


def draw_scene(task: Task, plan: Plan, rng: np.random.Generator) -> Scene:
    """Draw what was planned; the kinds of the sites change nothing but the sites and the classes of bare parcels."""
    sites, azimuth = plan.sites, rng.uniform(0.6, 2.5)
    sun = math.cos(azimuth), math.sin(azimuth)
    each = list(zip(sites.centres, sites.kinds.tolist(), rng.spawn(len(sites.kinds)), strict=True))
    land = Sheet(np.zeros((task.side, task.side), np.int32), [Look(GRASS, GREENS[0])])
    draw_land(land, task, plan, rng)
    draw_waters(land, task, sites, rng)
    roads = draw_roads(land, task, sites, rng)
    for centre, kind, apart in each:
        land.fill(blob(centre, task.site_px * 1.1, rng, 0.05), grassland(rng, 0.0))
        if kind == FARM:
            draw_farm(land, task, centre, apart)
        else:
            draw_quarry(land, task, centre, sun, apart)
    sheet = Sheet(roughened(land.surfaces(), rng), land.looks)
    for centre, kind, apart in each:
        draw_barns(sheet, task, centre, kind, apart)
    draw_hamlets(sheet, task, sites, roads, rng)
    plant_trees(sheet, task, plan, sun, rng)
    evidence = np.array([look.evidence for look in sheet.looks], np.uint8)[sheet.surfaces()]
    return Scene(photographed(sheet, sun, rng), sheet.classes(), evidence)


def write_scenes(folder: Path, task: Task, counts: dict[str, int], seed: int = 0) -> Path:
    """Write so many scenes for each split (train, val), far apart from each other, and give the CSV that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["image,label,split"]
    for number_of_split, (split, count) in enumerate(sorted(counts.items())):
        for number in range(count):
            name, left = f"{split}_{number:03d}", task.side * len(lines)
            scene = make_scene(task, np.random.default_rng([seed, number_of_split, number]))
            _write(folder / f"{name}.tif", scene.image, left)
            _write(folder / f"{name}_labels.tif", scene.labels[None], left)
            lines.append(f"{name}.tif,{name}_labels.tif,{split}")
    path = folder / "tiles.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def _write(path: Path, values: NDArray[np.uint8], left_m: float) -> None:
    transform = from_origin(300_000 + left_m, 4_300_000, PIXEL_M, PIXEL_M)
    profile: dict[str, Any] = {"crs": "EPSG:32617", "transform": transform, "tiled": True, "compress": "deflate"}
    count, height, width = values.shape
    with rasterio.open(path, "w", "GTiff", width, height, count, dtype="uint8", zlevel=1, **profile) as file:
        file.write(values)


def preview(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Image.Image:
    """The image beside its classes."""
    colours = np.array([ImageColor.getrgb(str(one["color"])) for one in CLASSES], np.uint8)
    return Image.fromarray(np.concatenate([np.moveaxis(image, 0, 2), colours[labels]], axis=1))


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--scenes", default=20, show_default=True, help="Scenes; a fifth of them validate.")
@click.option("--reach", default=Task.reach_px, show_default=True, help="Pixels to the evidence.")
@click.option("--side", default=Task.side, show_default=True, help="Side of a scene in pixels.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other scenes.")
def main(folder: Path, scenes: int, reach: int, side: int, seed: int) -> None:
    """Write scenes, their list and a preview of each into FOLDER."""
    val = scenes // 5
    path = write_scenes(folder, Task(reach_px=reach, side=side), {"train": scenes - val, "val": val}, seed)
    for line in path.read_text().splitlines()[1:]:
        image, labels, _ = line.split(",")
        with rasterio.open(folder / image) as one, rasterio.open(folder / labels) as other:
            preview(one.read(), other.read(1)).save(folder / image.replace(".tif", ".png"))
    click.echo(path)


if __name__ == "__main__":
    main()
