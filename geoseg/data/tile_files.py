"""Writing of tiles: a folder of small images, rasters of their labels, a list of both, and a draft of a config.

In: tiles one by one. Out: a folder from which `geoseg train` learns; it gets all of its files or none.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml

from geoseg.core.files import quiet_georeferencing, write_errors
from geoseg.data.labels import Indexes
from geoseg.geo.georef import PixelGrid
from geoseg.raster.legend import class_tags
from geoseg.raster.validity import Mask, Values
from geoseg.spec import NODATA_ID, ScalingSpec, TrainSpec

IMAGES, LABELS, TABLE, CONFIG = "images", "labels", "tiles.csv", "classes.yaml"
"""Names of the folders and files in the folder of the tiles."""
MARK = "# Written by geoseg tile."
"""First line of CONFIG; a folder without it was not written by geoseg, and is never cleared."""
HEAD = f"""{MARK} The start of a training config: add a name, a network and what else is to
# be set, as in the config that the tiles were made with. The tiles hold no labels within its guard band, so that none
# is needed here.
"""
FILE_BLOCK_PX = 256
"""Side of the blocks of the files in pixels."""


@dataclass(frozen=True)
class Tile:
    """A tile to be written."""

    grid: PixelGrid
    """Its pixel grid."""
    values: Values
    """Band values (C, h, w), uint8 or float32."""
    valid: Mask
    """Which pixels hold data (h, w)."""
    labels: Indexes
    """Class indexes (h, w), IGNORE where nothing is labelled."""


class TileFiles:
    """Writes a set of tiles into a working folder."""

    def __init__(self, folder: Path, spec: TrainSpec, dtype: str, nodata: float | None, scaling: ScalingSpec | None):
        self.folder, self.spec, self.dtype, self.nodata, self.scaling = folder, spec, dtype, nodata, scaling
        self._rows: list[tuple[str, str, str]] = []
        self._ids = np.full(256, NODATA_ID, np.uint8)
        self._classes = [c.model_copy(update={"code": None}) for c in spec.classes]
        self._ids[: len(spec.classes)] = [c.id for c in spec.classes]
        with write_errors(folder.parent):
            (folder / IMAGES).mkdir()
            (folder / LABELS).mkdir()

    def write(self, tile: Tile, name: str, split: str) -> None:
        """Write the image and the labels of a tile."""
        image, label = f"{IMAGES}/{name}.tif", f"{LABELS}/{name}.tif"
        with write_errors(self.folder.parent), quiet_georeferencing():
            self._write_image(self.folder / image, tile)
            self._write_labels(self.folder / label, tile.grid, self._ids[tile.labels])
        self._rows.append((image, label, split))

    def finish(self, resolution_m: float | None) -> None:
        """Write the list of the tiles, and the draft of a config that names it."""
        with write_errors(self.folder.parent):
            with (self.folder / TABLE).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([("image", "label", "split"), *self._rows])
            text = yaml.safe_dump(self._config(resolution_m), sort_keys=False, allow_unicode=True)
            (self.folder / CONFIG).write_text(HEAD + text, encoding="utf-8")

    def _write_image(self, path: Path, tile: Tile) -> None:
        """Write an image; pixels without data get the nodata value, or without one a mask in the file."""
        bands = self.spec.data.bands
        if self.nodata is not None:
            tile.values[:, ~tile.valid] = self.nodata
        is_rgb = [name.lower() for name in bands[:3]] == ["red", "green", "blue"]
        profile = {"nodata": self.nodata, "photometric": "RGB" if is_rgb else "MINISBLACK", "ALPHA": "NO"}
        profile["predictor"] = 3 if self.dtype == "float32" else 2
        with _create(path, tile.grid, len(bands), self.dtype, profile) as dataset:
            dataset.descriptions = bands
            if self.scaling is not None:
                dataset.scales, dataset.offsets = self.scaling.scale, self.scaling.offset
            dataset.write(_as_type(tile.values, np.dtype(self.dtype)))
            if self.nodata is None and not tile.valid.all():
                dataset.write_mask(tile.valid)

    def _write_labels(self, path: Path, grid: PixelGrid, ids: Indexes) -> None:
        with _create(path, grid, 1, "uint8", {"nodata": NODATA_ID, "photometric": "PALETTE"}) as dataset:
            dataset.descriptions = ("class",)
            dataset.write_colormap(1, {c.id: (*bytes.fromhex(c.color[1:]), 255) for c in self.spec.classes})
            dataset.update_tags(**class_tags(self._classes))
            dataset.write(ids, 1)

    def _config(self, resolution_m: float | None) -> dict[str, Any]:
        data = self.spec.data
        place = {} if resolution_m is None else {"resolution_m": resolution_m}
        return {
            "data": {"tiles": TABLE, "bands": list(data.bands), "dtype": data.dtype}
            | place
            | {"class_balance": data.class_balance, "split": {"by": "column", "guard_px": 0}},
            "classes": [c.model_dump() for c in self._classes],
        }


def _as_type(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in the type of the files: rounded and clipped, as values that were rescaled may not fit it."""
    if values.dtype.kind == "f" and dtype.kind != "f" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


def _create(path: Path, grid: PixelGrid, count: int, dtype: str, profile: dict[str, Any]) -> Any:
    """Open a new GeoTIFF of a tile."""
    place = {} if grid.transform.is_identity else {"transform": grid.transform}
    return rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.height,
        width=grid.width,
        count=count,
        dtype=dtype,
        crs=grid.crs,
        compress="DEFLATE",
        tiled=True,
        blockxsize=FILE_BLOCK_PX,
        blockysize=FILE_BLOCK_PX,
        **place,
        **profile,
    )


def publish_tiles(work: Path, folder: Path) -> None:
    """Move finished files to their folder: the old list goes first and the new one comes last, so that no list names a
    missing tile."""
    old = work / "replaced"
    with write_errors(folder):
        old.mkdir()
        for name in (TABLE, CONFIG, LABELS, IMAGES):
            if (folder / name).exists():
                os.replace(folder / name, old / name)
        for name in (IMAGES, LABELS, CONFIG, TABLE):
            os.replace(work / name, folder / name)
