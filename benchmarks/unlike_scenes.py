"""Whether predict warns of scenes that are unlike what the default model learnt from, and of no other.

    python benchmarks/unlike_scenes.py --data ../shared/data           the table of foreign scenes and of home ones
    python benchmarks/unlike_scenes.py --data ../shared/data --write   describe the training imagery in the bundle

Foreign scenes are cut to 1024 pixels a side, in the middle; those without data there to where they have some. They are
classified with --force, so that none is refused. Home scenes are tiles of NAIP Ohio of the validation and test side,
alone and, of each cluster, as a mosaic. Thresholds come from the training tiles alone; which features are compared was
chosen with the foreign scenes in view.
"""

from __future__ import annotations

import argparse
import csv
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.merge import merge
from rasterio.windows import Window

from geoseg.commands.describe_imagery import with_training_imagery
from geoseg.commands.predict import predict
from geoseg.core.errors import GeosegError
from geoseg.core.events import SILENT
from geoseg.inference.unlike import UNLIKE
from geoseg.models.bundle import load_model, save_model
from geoseg.models.header import default_model_path
from geoseg.training.run.settings import resolve_settings

CONFIG = Path(__file__).parents[1] / "configs" / "landcover-naip-rgb.yaml"
SIDE = 1024
TESTED = "6", "9"
"""Clusters of tiles that the default model was tested on."""
MEASURES = {
    "resolution": "pixels of",
    "bands": "(bright|dark)er than|go together otherwise",
    "features": "features are farther off",
}
"""What the sentence says of each measure."""
BANDS = {"s2_rachel": (3, 2, 1), "s2_8band": (3, 2, 1), "landsat8_b2": (1, 1, 1), "sar": (1, 1, 1)}
"""Bands for red, green and blue where neither names nor colours say so."""
SIXTEEN_BITS = {"s2_8band": (0.0, 3000.0), "landsat8_b2": (0.0, 20000.0)}
"""LOW and HIGH of --rescale."""
Tile = dict[str, str]


def main() -> None:
    """Write the description of the training imagery, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with scenes/ and labelled/naip_ohio_6class/")
    parser.add_argument("--write", action="store_true", help="describe the training imagery in the default bundle")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if given.write:
            write_imagery(given.data, Path(scratch))
        else:
            print_table(given.data, Path(scratch))


def write_imagery(data: Path, scratch: Path) -> None:
    """Describe the training tiles in the header of the default bundle; its weights stay as they are."""
    listed = scratch / "tiles.csv"
    with listed.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "split"])
        for tile, folder in tiles(data):
            table.writerow([folder / tile["image"], folder / tile["label"], side_of(tile)])
    model = load_model()
    made = with_training_imagery(model, resolve_settings(CONFIG, listed, {}), "cpu", SILENT)
    save_model(made.module, made.spec, default_model_path(), half=True)


def tiles(data: Path) -> Iterator[tuple[Tile, Path]]:
    """The tiles of NAIP Ohio, each with the folder that its paths are relative to."""
    folder = (data / "labelled" / "naip_ohio_6class").resolve()
    with (folder / "split.csv").open(newline="") as file:
        for tile in csv.DictReader(file):
            yield tile, folder


def side_of(tile: Tile) -> str:
    """Side of the split on which the default model had a tile."""
    return "test" if tile["cluster"] in TESTED else tile["split"]


def print_table(data: Path, scratch: Path) -> None:
    """Print which measures warn of each scene."""
    print("| scene | warned of | sentence |\n|---|---|---|")
    for path in sorted((data / "scenes").glob("*.tif*")):
        bands = next((value for key, value in BANDS.items() if path.name.startswith(key)), (1, 2, 3))
        rescale = next((value for key, value in SIXTEEN_BITS.items() if path.name.startswith(key)), None)
        report(path.name, cut(path, scratch / path.name), bands=bands, **({"rescale": rescale} if rescale else {}))
    clusters = defaultdict(list)
    for tile, folder in tiles(data):
        if side_of(tile) != "train":
            clusters[side_of(tile), tile["cluster"]].append(folder / tile["image"])
    for (side, cluster), paths in sorted(clusters.items()):
        report(f"Ohio, {side}, cluster {cluster}, mosaic of {len(paths)}", joined(paths, scratch / f"{cluster}.tif"))
        warned = sum(bool(reasons(path)) for path in paths)
        print(f"| Ohio, {side}, cluster {cluster}, one by one | {warned} of {len(paths)} | |", flush=True)


def report(name: str, path: Path, **settings: object) -> None:
    """Print the line of a scene."""
    try:
        sentence = reasons(path, **settings)
    except GeosegError as error:
        sentence, fired = "", [f"refused: {error}"]
    else:
        fired = [measure for measure, words in MEASURES.items() if re.search(words, sentence)]
    print(f"| {name} | {', '.join(fired) or 'nothing'} | {sentence} |", flush=True)


def reasons(path: Path, **settings: object) -> str:
    """What predict names as unlike in a scene; nothing if it does not warn."""
    plain = {"polygons": False, "preview": False, "stac": False, "force": True, "overwrite": True, "bands": (1, 2, 3)}
    with tempfile.TemporaryDirectory() as folder:
        found = predict(path, folder, **plain | settings)
    warnings = [line for line in found.notices if line.startswith(UNLIKE)]
    return warnings[0].removeprefix(f"{UNLIKE} (").rpartition(")")[0] if warnings else ""


def cut(path: Path, to: Path) -> Path:
    """A part of a raster, with its mask; the raster itself if it is not larger."""
    with rasterio.open(path) as raster:
        if max(raster.height, raster.width) <= 2 * SIDE:
            return path
        row, col = place_with_data(raster)
        window = Window(col, row, min(SIDE, raster.width), min(SIDE, raster.height))
        profile = raster.profile | {
            "height": window.height, "width": window.width, "transform": raster.window_transform(window),
            "driver": "GTiff", "compress": "deflate", "photometric": None, "interleave": "pixel",
        }  # fmt: skip
        values, mask = raster.read(window=window), raster.dataset_mask(window=window)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(to, "w", **profile) as part:
            part.write(values)
            part.colorinterp = raster.colorinterp
            if raster.nodata is None:
                part.write_mask(mask)
    return to


def place_with_data(raster: rasterio.DatasetReader) -> tuple[int, int]:
    """First row and column of the part of a raster that holds most data, of evenly spread ones."""
    rows, cols = (np.unique(np.linspace(0, side - SIDE, 9).clip(0).astype(int)) for side in raster.shape)
    middle = rows[len(rows) // 2], cols[len(cols) // 2]
    places = [middle, *((row, col) for row in rows for col in cols)]
    held = [raster.dataset_mask(window=Window(col, row, SIDE, SIDE)).mean() for row, col in places]
    return places[int(np.argmax(held))]


def joined(paths: list[Path], to: Path) -> Path:
    """A mosaic of tiles, 0 being no data."""
    merge([str(path) for path in paths], nodata=0, dst_path=to)
    return to


if __name__ == "__main__":
    main()
