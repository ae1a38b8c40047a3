"""`geoseg tile`: labelled rasters written as tiles, to look at training data, correct it or pass it on.

In: a training config, which names scenes with rasters or polygons of labels. Out: a folder with small images, rasters
of their labels, a CSV that says which are for training, for validation and for the test, and the start of a training
config that reads them. The split and its guard band are those of a training run with the same config: pixels that it
would not use have no labels. One tile is in memory at a time; the folder gets all of its files or none.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.core.composites import paths_in
from geoseg.core.errors import LabelError, OutputError
from geoseg.core.events import SILENT, NoticeLog, Reporter, Stage
from geoseg.core.files import workspace
from geoseg.core.naming import scene_name
from geoseg.data.listing import ListedRaster, list_rasters
from geoseg.data.mosaic import Mosaic
from geoseg.data.tile_files import CONFIG, IMAGES, LABELS, MARK, TABLE, Tile, TileFiles, publish_tiles
from geoseg.data.tile_lattice import ScoredArea, TileLattice
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.scene_info import plain_number
from geoseg.spec import (
    IGNORE,
    ClassSpec,
    DataSpec,
    TrainSpec,
    load_train_spec,
    parse_spec,
    paths_from,
)
from geoseg.spec.settings import TileSettings
from geoseg.spec.tile import TileSpec
from geoseg.training.data.image_files import open_image
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data

__all__ = ["TileResult", "tile"]


@dataclass(frozen=True)
class TileResult:
    """The result of `tile`."""

    tiles: Path
    """CSV of the tiles: image, label, split."""
    config: Path
    """Start of a training config that reads them."""
    train_tiles: int
    """Tiles to learn from."""
    val_tiles: int
    """Tiles to score on."""
    test_tiles: int
    """Tiles for the test of a finished model."""
    sparse_tiles: int
    """Tiles that were left out because too little of them is labelled."""
    train_pixels: dict[str, int]
    """Labelled training pixels per class name; pixels in several tiles count in each."""
    val_pixels: dict[str, int]
    """Labelled pixels to score on per class name, likewise."""
    test_pixels: dict[str, int]
    """Labelled pixels for the test per class name, likewise."""
    dtype: str
    """Type of the band values."""
    nodata: float | None
    """Value of pixels without data; None where each file has a mask instead."""
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
    """Write tiles of the labelled rasters that a training config names.

    Args:
        config: a training config (YAML), or settings already read.
        output: folder that gets images/, labels/, tiles.csv and classes.yaml.
        overwrite: replace the tiles of an earlier call.
        reporter: takes notices, and the progress of `reading` in pixels and of `writing` in tiles.
        settings: fields of TileSpec.

    Raises:
        SpecError: if a setting is invalid.
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
        found = read_training_data(spec, reporter=log)
        files = TileFiles(work, spec, *_type_and_nodata(entries, spec.data), found.scaling)
        written = _write_sides(found, files, TileLattice(wanted.size, wanted.overlap), wanted.min_labelled, log)
        _check_sides(written, spec, wanted.min_labelled, log, has_test=found.read_test is not None)
        _notify_of_hidden(written, wanted.size, log)
        files.finish(found.resolution_m)
        publish_tiles(work, folder)
    return TileResult(
        tiles=folder / TABLE,
        config=folder / CONFIG,
        train_tiles=len(written["train"].grids),
        val_tiles=len(written["val"].grids),
        test_tiles=len(written["test"].grids),
        sparse_tiles=sum(side.sparse for side in written.values()),
        train_pixels=_by_name(written["train"], spec.classes),
        val_pixels=_by_name(written["val"], spec.classes),
        test_pixels=_by_name(written["test"], spec.classes),
        dtype=files.dtype,
        nodata=files.nodata,
        seconds=time.perf_counter() - started,
        notices=tuple(log.lines),
    )


def _by_name(side: _Written, classes: Sequence[ClassSpec]) -> dict[str, int]:
    return {c.name: int(count) for c, count in zip(classes, side.pixels, strict=True)}


# --------------------------------------------------------------------------------------------------------- settings


def _resolve(config: str | os.PathLike[str] | TrainSpec) -> TrainSpec:
    """The settings, with absolute paths, and images that are not read into memory."""
    spec = config if isinstance(config, TrainSpec) else load_train_spec(Path(config))
    data = paths_from(spec.data, Path.cwd()).model_copy(update={"memory_mb": 0})
    return spec.model_copy(update={"data": data})


def _check_folder(folder: Path, data: DataSpec, entries: Sequence[ListedRaster], overwrite: bool) -> None:
    """Refuse results that exist; never replace the tiled files, or files that `tile` has not written."""
    results = [folder / name for name in (TABLE, CONFIG, IMAGES, LABELS)]
    inputs = [path for entry in entries for path in (*map(Path, paths_in(entry.image)), entry.label)] + [
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
    """The type that holds the values of all images, and their nodata value if it is the same in all."""
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
    """Whether a type can hold a value."""
    if dtype.kind == "f":
        return math.isnan(value) or abs(value) <= np.finfo(dtype).max
    return value == np.rint(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


# ---------------------------------------------------------------------------------------------------------- writing


@dataclass
class _Written:
    """The written tiles of one side of the split."""

    pixels: NDArray[np.int64]
    """Labelled pixels per class (K)."""
    grids: list[PixelGrid]
    """Where the tiles lie."""
    sparse: int = 0
    """Tiles left out for want of labels."""
    hidden_px: int = 0
    """Labelled pixels inside tiles that are scored."""

    def add(self, tile: Tile, closed: ScoredArea) -> None:
        """Count a tile that was written."""
        known = tile.labels != IGNORE
        self.grids.append(tile.grid)
        self.pixels += np.bincount(tile.labels[known], minlength=len(self.pixels))
        self.hidden_px += int((closed.mask(tile.grid) & known).sum())


def _write_sides(
    data: TrainingData, files: TileFiles, lattice: TileLattice, min_labelled: float, reporter: Reporter
) -> dict[str, _Written]:
    """Write the tiles of all sides, training last, so that its tiles can be compared with the others."""
    tested = {} if data.read_test is None else {"test": data.read_test(reporter)}
    sides = tested | {"val": data.val, "train": data.train}
    plans = {split: _plan(side, lattice) for split, side in sides.items()}
    stage = Stage(reporter, "writing", sum(map(len, plans.values())))
    written = {split: _Written(np.zeros(len(files.spec.classes), np.int64), []) for split in ("test", "val", "train")}
    for split, plan in plans.items():
        side = written[split]
        closed = ScoredArea([*written["test"].grids, *written["val"].grids] if split == "train" else ())
        for number, whole, window in plan:
            tile = _cut(whole, window, min_labelled, len(files.spec.classes))
            if tile is None:
                side.sparse += 1
            else:
                files.write(tile, _name(whole, window, split, number), split)
                side.add(tile, closed)
            stage.advance(1)
    return written


def _plan(side: SplitSide, lattice: TileLattice) -> list[tuple[int, Mosaic, Window]]:
    """Tiles that may hold labels: number of their mosaic, the mosaic, and window in it."""
    places = side.cells.places[np.argsort(side.cells.places[:, 0], kind="stable")]
    cells = np.split(places[:, 1:], np.searchsorted(places[:, 0], np.arange(1, len(side.rasters))))
    return [
        (number, mosaic, window)
        for number, (mosaic, corners) in enumerate(zip(side.rasters, cells, strict=True))
        for window in lattice.windows(mosaic.height, mosaic.width, corners)
    ]


def _cut(mosaic: Mosaic, window: Window, min_labelled: float, classes: int) -> Tile | None:
    """Read a tile; None if too little of it is labelled, or nothing. Labels that are sets of classes are left out."""
    labels = mosaic.read_labels(window)
    labels[labels >= classes] = IGNORE
    least = max(1.0, min_labelled * window.pixels)
    if (labels != IGNORE).sum() < least:
        return None
    values, valid = mosaic.read(window)
    labels[~valid] = IGNORE
    return Tile(_grid_of(mosaic, window), values, valid, labels) if (labels != IGNORE).sum() >= least else None


def _grid_of(mosaic: Mosaic, window: Window) -> PixelGrid:
    """Pixel grid of a tile; not georeferenced if its mosaic is not."""
    if mosaic.grid.is_georeferenced:
        return mosaic.grid.part(window)
    return PixelGrid(window.height, window.width, mosaic.grid.transform, None)


def _name(mosaic: Mosaic, window: Window, split: str, number: int) -> str:
    """Name of a tile: its scene (characters valid in file names), side, number of mosaic, first row and column."""
    scene = scene_name(mosaic.name_at(window.row + window.height // 2, window.col + window.width // 2))
    scene = re.sub(r"[^\w.-]+", "-", scene)
    return f"{scene}_{split}_{number}_{window.row}_{window.col}"


# --------------------------------------------------------------------------------------------------------- finishing


def _check_sides(
    written: dict[str, _Written], spec: TrainSpec, min_labelled: float, reporter: Reporter, *, has_test: bool
) -> None:
    """Refuse a side without tiles; report classes that only tiles with too few labels show."""
    is_needed = {"train": True, "val": spec.data.split.validates, "test": has_test}
    for split, name in (("train", "training"), ("val", "validation"), ("test", "test")):
        if not written[split].grids and is_needed[split]:
            raise LabelError(
                f"no {name} tile is labelled on {min_labelled:.1%} of its pixels: lower --min-labelled or --size"
            )
    lost = [c.name for c, count in zip(spec.classes, written["train"].pixels, strict=True) if not count]
    if lost:
        reporter.notice(
            f"no training tile shows {', '.join(lost)}, as only tiles with few labels do: geoseg train needs some, "
            "lower --min-labelled"
        )


def _notify_of_hidden(written: dict[str, _Written], size: int, reporter: Reporter) -> None:
    hidden_px = written["train"].hidden_px
    if hidden_px:
        scored = "validation or test" if written["test"].grids else "validation"
        reporter.notice(
            f"{hidden_px:,} labelled pixels of training tiles lie inside {scored} tiles, and geoseg train "
            f"will leave them out: set data.split.guard_px to {size} to keep the tiles apart"
        )
