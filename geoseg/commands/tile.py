"""`geoseg tile`: labelled ground as tiles on disk, for those who want to see, share or mend what a model learns from.

What goes in: a training config, which names scenes with rasters or polygons of labels. What comes out: a folder with
small images, rasters of their labels, a CSV that says which are for training and which for validation, and the start of
a training config that reads them. The split and its guard band are those of a training run with the same config: what
it would not learn from is not labelled. One tile is in memory at a time; the folder gets all of its files or none.
"""

from __future__ import annotations

import csv
import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import rasterio
import shapely
import yaml
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, OutputError
from geoseg.core.events import SILENT, NoticeLog, Reporter, Stage
from geoseg.core.files import quiet_georeferencing, workspace, write_errors
from geoseg.core.naming import scene_name
from geoseg.data.class_statistics import CELL_PX
from geoseg.data.labels import Indexes
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.data.mosaic import Mosaic
from geoseg.geo.crs import plane_number
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.grid import Window
from geoseg.outputs.geotiff import class_tags
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.scene_info import plain_number
from geoseg.raster.validity import Mask, Values
from geoseg.spec import (
    IGNORE,
    NODATA_ID,
    ClassSpec,
    DataSpec,
    ScalingSpec,
    TrainSpec,
    beside,
    load_train_spec,
    parse_spec,
)
from geoseg.spec.settings import TileSettings
from geoseg.spec.tile import TileSpec
from geoseg.training.image_files import open_image
from geoseg.training.inputs import TrainingData, read_training_data
from geoseg.training.sides import Side

__all__ = ["TileResult", "tile"]

IMAGES, LABELS, TABLE, CONFIG = "images", "labels", "tiles.csv", "classes.yaml"
"""What the folder of the results holds."""
MARK = "# Written by geoseg tile."
"""How CONFIG begins; a folder without it was filled by somebody else, and is never cleared."""
HEAD = f"""{MARK} The start of a training config: add a name, a network and what else is to
# be set, as in the config that the tiles were made with. The tiles hold no labels within its guard band, so that none
# is needed here.
"""
BLOCK_PX = 256
"""Side of a block of a file in pixels."""


@dataclass(frozen=True)
class TileResult:
    """What `tile` wrote."""

    tiles: Path
    """CSV of the tiles: image, label, split."""
    config: Path
    """Start of a training config that reads them."""
    train_tiles: int
    """Tiles to learn from."""
    val_tiles: int
    """Tiles to score on."""
    sparse_tiles: int
    """Tiles that were left out because too little of them is labelled."""
    train_pixels: dict[str, int]
    """Labelled pixels to learn from per class name; those that tiles share count in each."""
    val_pixels: dict[str, int]
    """Labelled pixels to score on per class name, likewise."""
    dtype: str
    """Type of the band values."""
    nodata: float | None
    """Value of pixels without data; None where a mask in each file tells of them."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """What the user should know of: a sentence each."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        paths = {"tiles": str(self.tiles), "config": str(self.config)}
        return asdict(self) | paths | {"nodata": plain_number(self.nodata), "notices": list(self.notices)}


def tile(
    config: str | os.PathLike[str] | TrainSpec,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    **settings: Unpack[TileSettings],
) -> TileResult:
    """Write labelled tiles of the ground that a training config names.

    Args:
        config: a training config (YAML), or settings already read.
        output: folder that gets images/, labels/, tiles.csv and classes.yaml.
        overwrite: replace the tiles of an earlier call.
        reporter: takes notices, and the progress of `reading` in pixels and of `writing` in tiles.
        settings: fields of TileSpec.

    Raises:
        SpecError: if a setting makes no sense.
        LabelError: if labels cannot be used, or no tile of one side has enough of them.
        SceneError: if an image cannot be read.
        OutputError: if results exist, the tiled files are among them, or they cannot be written.
    """
    started, log = time.perf_counter(), NoticeLog(reporter)
    wanted = parse_spec(TileSpec, settings, source="settings")
    spec, folder = _resolve(config), Path(output)
    entries = list_rasters(spec.data)
    _check_folder(folder, spec.data, entries, overwrite)
    with gdal_settings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), workspace(folder / TABLE) as work:
        ground = read_training_data(spec, reporter=log)
        files = _Files(work, spec, *_type_and_nodata(entries, spec.data), ground.scaling)
        written = _write_sides(ground, files, _Lattice(wanted.size, wanted.overlap), wanted.min_labelled, log)
        _check_sides(written, spec.classes, wanted.min_labelled, log)
        _notify_of_hidden(written["train"].hidden_px, wanted.size, log)
        files.finish(ground.resolution_m)
        _publish(work, folder)
    return TileResult(
        tiles=folder / TABLE,
        config=folder / CONFIG,
        train_tiles=len(written["train"].grids),
        val_tiles=len(written["val"].grids),
        sparse_tiles=sum(side.sparse for side in written.values()),
        train_pixels=_by_name(written["train"], spec.classes),
        val_pixels=_by_name(written["val"], spec.classes),
        dtype=files.dtype,
        nodata=files.nodata,
        seconds=time.perf_counter() - started,
        notices=tuple(log.lines),
    )


def _by_name(side: _Written, classes: Sequence[ClassSpec]) -> dict[str, int]:
    return {c.name: int(count) for c, count in zip(classes, side.pixels, strict=True)}


# --------------------------------------------------------------------------------------------------------- settings


def _resolve(config: str | os.PathLike[str] | TrainSpec) -> TrainSpec:
    """The settings, with paths that say where they start, and images that stay on the disk."""
    spec = config if isinstance(config, TrainSpec) else load_train_spec(Path(config))
    data = beside(spec.data, Path.cwd()).model_copy(update={"memory_mb": 0})
    return spec.model_copy(update={"data": data})


def _check_folder(folder: Path, data: DataSpec, entries: Sequence[ListedRaster], overwrite: bool) -> None:
    """Refuse results that exist, and never replace what is to be tiled, or what somebody else wrote."""
    results = [folder / name for name in (TABLE, CONFIG, IMAGES, LABELS)]
    inputs = [path for entry in entries for path in (entry.image, entry.label)] + [
        path for path in [data.tiles] if path
    ]
    for path in inputs:
        if any(path.resolve().is_relative_to(result.resolve()) for result in results):
            raise OutputError(f"{path} is to be tiled and lies where the tiles would go: choose another --output")
    existing = [path for path in results if path.exists()]
    if existing and not overwrite:
        raise OutputError(f"{existing[0]} exists: pass --overwrite to replace it, or choose another --output")
    if existing and not _is_ours(folder / CONFIG):
        raise OutputError(f"{existing[0]} exists and was not written by geoseg tile: choose another --output")


def _is_ours(config: Path) -> bool:
    try:
        return config.read_bytes().startswith(MARK.encode())
    except OSError:
        return False


def _type_and_nodata(entries: Sequence[ListedRaster], data: DataSpec) -> tuple[str, float | None]:
    """The type that holds the values of all images, and their nodata value if they agree on one of that type."""
    types: set[str] = set()
    values: dict[str, float | None] = {}
    for entry in entries:
        with open_image(entry.image, data) as scene:
            types.add(scene.info.dtype_of(scene.bands))
            found = [data.nodata] if data.nodata is not None else [scene.info.nodata[i - 1] for i in scene.bands]
            values |= {repr(value): value for value in found}  # NaN is not equal to itself
    joined = np.result_type(*types)
    dtype = np.dtype(np.float32) if joined.kind == "f" else joined
    nodata = next(iter(values.values())) if len(values) == 1 else None
    return dtype.name, nodata if nodata is not None and _holds(dtype, nodata) else None


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a type has a value."""
    if dtype.kind == "f":
        return math.isnan(value) or abs(value) <= np.finfo(dtype).max
    return value == np.rint(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


# ---------------------------------------------------------------------------------------------------------- lattice


@dataclass(frozen=True)
class _Lattice:
    """How tiles lie on ground."""

    size: int
    """Side of a tile in pixels."""
    overlap: int
    """Pixels shared by neighbouring tiles."""

    def starts(self, length: int) -> NDArray[np.int64]:
        """First pixel of each tile along an axis; the last tile ends on the edge."""
        last = max(0, length - self.size)
        return np.append(np.arange(0, last, self.size - self.overlap), last)

    def windows(self, height: int, width: int, cells: NDArray[np.int64]) -> list[Window]:
        """Tiles, row by row, that meet one of the cells with labels, given by their corners (N, 2)."""
        rows, cols = self.starts(height), self.starts(width)
        (top, bottom), (left, right) = self._meeting(rows, cells[:, 0]), self._meeting(cols, cells[:, 1])
        # Each cell meets a rectangle of tiles: four corners whose running sums count the cells of every tile.
        met = np.zeros((len(rows) + 1, len(cols) + 1), np.int64)
        for i, j, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(met, (i, j), sign)
        found = np.argwhere(met.cumsum(axis=0).cumsum(axis=1) > 0)
        return [Window(int(rows[i]), int(cols[j]), self.size, self.size).clip(height, width) for i, j in found]

    def _meeting(self, starts: NDArray[np.int64], cells: NDArray[np.int64]) -> tuple[NDArray[np.intp], ...]:
        """First and last-plus-one tile that meets each cell, along one axis."""
        first = np.searchsorted(starts + self.size, cells, side="right")
        return first, np.searchsorted(starts, cells + CELL_PX, side="left")


# ---------------------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True)
class _Tile:
    """A tile on its way to the disk."""

    grid: PixelGrid
    """Where its pixels lie."""
    values: Values
    """Band values (C, h, w), uint8 or float32."""
    valid: Mask
    """Which pixels hold data (h, w)."""
    labels: Indexes
    """Class indexes (h, w), IGNORE where nothing is labelled."""


@dataclass
class _Written:
    """What was written of one side of the split."""

    pixels: NDArray[np.int64]
    """Labelled pixels per class (K)."""
    grids: list[PixelGrid]
    """Where the tiles lie."""
    sparse: int = 0
    """Tiles left out for want of labels."""
    hidden_px: int = 0
    """Labelled pixels on closed ground."""

    def add(self, tile: _Tile, closed: _Closed) -> None:
        """Count a tile that was written."""
        known = tile.labels != IGNORE
        self.grids.append(tile.grid)
        self.pixels += np.bincount(tile.labels[known], minlength=len(self.pixels))
        self.hidden_px += int((closed.mask(tile.grid) & known).sum())


def _write_sides(
    ground: TrainingData, files: _Files, lattice: _Lattice, min_labelled: float, reporter: Reporter
) -> dict[str, _Written]:
    """Write the tiles of both sides: validation first, so that training tiles can be held against it."""
    sides = {"val": ground.val, "train": ground.train}
    plans = {split: _plan(side, lattice) for split, side in sides.items()}
    stage = Stage(reporter, "writing", sum(map(len, plans.values())))
    written: dict[str, _Written] = {}
    for split, plan in plans.items():
        side = written[split] = _Written(np.zeros(len(files.spec.classes), np.int64), [])
        closed = _Closed(written["val"].grids if split == "train" else ())
        for number, whole, window in plan:
            tile = _cut(whole, window, min_labelled)
            if tile is None:
                side.sparse += 1
            else:
                files.write(tile, _name(whole, window, split, number), split)
                side.add(tile, closed)
            stage.advance(1)
    return written


def _plan(side: Side, lattice: _Lattice) -> list[tuple[int, Mosaic, Window]]:
    """Tiles that may hold labels: number of their ground, the ground, and where in it."""
    places = side.cells.places[np.argsort(side.cells.places[:, 0], kind="stable")]
    cells = np.split(places[:, 1:], np.searchsorted(places[:, 0], np.arange(1, len(side.rasters))))
    return [
        (number, ground, window)
        for number, (ground, corners) in enumerate(zip(side.rasters, cells, strict=True))
        for window in lattice.windows(ground.height, ground.width, corners)
    ]


def _cut(ground: Mosaic, window: Window, min_labelled: float) -> _Tile | None:
    """Read a tile; None if too little of it is labelled, or nothing."""
    labels = ground.read_labels(window)
    least = max(1.0, min_labelled * window.pixels)
    if (labels != IGNORE).sum() < least:
        return None
    values, valid = ground.read(window)
    labels[~valid] = IGNORE
    return _Tile(_grid_of(ground, window), values, valid, labels) if (labels != IGNORE).sum() >= least else None


def _grid_of(ground: Mosaic, window: Window) -> PixelGrid:
    """Grid of a tile; nowhere if its ground is nowhere."""
    if ground.grid.is_placed:
        return ground.grid.part(window)
    return PixelGrid(window.height, window.width, ground.grid.transform, None)


def _name(ground: Mosaic, window: Window, split: str, number: int) -> str:
    """Name of a tile: its scene, as far as file names go, its side, the number of its ground, first row and column."""
    scene = scene_name(ground.name_at(window.row + window.height // 2, window.col + window.width // 2))
    scene = re.sub(r"[^\w.-]+", "-", scene)
    return f"{scene}_{split}_{number}_{window.row}_{window.col}"


class _Closed:
    """Ground of validation tiles: `geoseg train` does not learn there, whatever a training tile shows of it."""

    def __init__(self, grids: Iterable[PixelGrid]):
        self._planes: list[Any] = []
        boxes: dict[int, list[Box]] = {}
        for grid in grids:
            if grid.is_placed:
                boxes.setdefault(plane_number(grid.crs, self._planes), []).append(grid.box(_everything(grid)))
        self._boxes = boxes
        self._trees = {plane: shapely.STRtree(shapely.box(*np.array(boxes).T)) for plane, boxes in boxes.items()}

    def mask(self, grid: PixelGrid) -> Mask:
        """Which pixels (h, w) of a tile lie there; only tiles of one plane are compared."""
        mask = np.zeros((grid.height, grid.width), bool)
        plane = plane_number(grid.crs, [*self._planes]) if grid.is_placed else len(self._planes)
        if plane in self._trees:
            for index in self._trees[plane].query(shapely.box(*grid.box(_everything(grid)))):
                found = grid.window_of(self._boxes[plane][index])
                mask[found.clip(grid.height, grid.width).slices] = True
        return mask


def _everything(grid: PixelGrid) -> Window:
    return Window(0, 0, grid.height, grid.width)


class _Files:
    """The files of a set of tiles, in a workspace."""

    def __init__(self, folder: Path, spec: TrainSpec, dtype: str, nodata: float | None, scaling: ScalingSpec | None):
        self.folder, self.spec, self.dtype, self.nodata, self.scaling = folder, spec, dtype, nodata, scaling
        self._rows: list[tuple[str, str, str]] = []
        self._ids = np.full(256, NODATA_ID, np.uint8)
        self._ids[: len(spec.classes)] = [c.id for c in spec.classes]
        with write_errors(folder.parent):
            (folder / IMAGES).mkdir()
            (folder / LABELS).mkdir()

    def write(self, tile: _Tile, name: str, split: str) -> None:
        """Write the image and the labels of a tile."""
        image, label = f"{IMAGES}/{name}.tif", f"{LABELS}/{name}.tif"
        with write_errors(self.folder.parent), quiet_georeferencing():
            self._write_image(self.folder / image, tile)
            self._write_labels(self.folder / label, tile.grid, self._ids[tile.labels])
        self._rows.append((image, label, split))

    def finish(self, resolution_m: float | None) -> None:
        """Write the list of the tiles, and the start of a config that reads them."""
        with write_errors(self.folder.parent):
            with (self.folder / TABLE).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([("image", "label", "split"), *self._rows])
            text = yaml.safe_dump(self._config(resolution_m), sort_keys=False, allow_unicode=True)
            (self.folder / CONFIG).write_text(HEAD + text, encoding="utf-8")

    def _write_image(self, path: Path, tile: _Tile) -> None:
        """Pixels without data get the nodata value; without one, a mask in the file tells of them."""
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
            dataset.update_tags(**class_tags(self.spec.classes))
            dataset.write(ids, 1)

    def _config(self, resolution_m: float | None) -> dict[str, Any]:
        data = self.spec.data
        place = {} if resolution_m is None else {"resolution_m": resolution_m}
        return {
            "data": {"tiles": TABLE, "bands": list(data.bands), "dtype": data.dtype}
            | place
            | {"class_balance": data.class_balance, "split": {"by": "column", "guard_px": 0}},
            "classes": [c.model_dump() for c in self.spec.classes],
        }


def _as_type(values: Values, dtype: np.dtype[Any]) -> Values:
    """Values in the type of the files; those that were converted to common terms may be no whole numbers of it."""
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
        blockxsize=BLOCK_PX,
        blockysize=BLOCK_PX,
        **place,
        **profile,
    )


# --------------------------------------------------------------------------------------------------------- finishing


def _check_sides(
    written: dict[str, _Written], classes: Sequence[ClassSpec], min_labelled: float, reporter: Reporter
) -> None:
    """Refuse a side without tiles; notify of classes that were lost with tiles of few labels."""
    for split, name in (("train", "training"), ("val", "validation")):
        if not written[split].grids:
            raise LabelError(
                f"no {name} tile is labelled on {min_labelled:.1%} of its pixels: lower --min-labelled or --size"
            )
    lost = [c.name for c, count in zip(classes, written["train"].pixels, strict=True) if not count]
    if lost:
        reporter.notice(
            f"no training tile shows {', '.join(lost)}, as only tiles with few labels do: geoseg train needs some, "
            "lower --min-labelled"
        )


def _notify_of_hidden(hidden_px: int, size: int, reporter: Reporter) -> None:
    if hidden_px:
        reporter.notice(
            f"{hidden_px:,} labelled pixels of training tiles lie inside validation tiles, and geoseg train will leave "
            f"them out: set data.split.guard_px to {size} to keep the tiles apart"
        )


def _publish(work: Path, folder: Path) -> None:
    """Move the finished files to their places; the list goes first and comes last, so it never names a missing tile."""
    old = work / "replaced"
    with write_errors(folder):
        old.mkdir()
        for name in (TABLE, CONFIG, LABELS, IMAGES):
            if (folder / name).exists():
                os.replace(folder / name, old / name)
        for name in (IMAGES, LABELS, CONFIG, TABLE):
            os.replace(work / name, folder / name)
