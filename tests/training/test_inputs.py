"""All that a run learns from: read, checked, counted once, and split so that scores tell of ground never learnt."""

import csv
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from PIL import Image
from rasterio.features import rasterize
from support.rasters import SHARED_DATA, TRANSFORM, UTM, needs_shared_data, write_raster
from support.reporters import Heard, Watching

from geoseg.core.errors import GeosegError, LabelError, OutputError, SceneError, SpecError
from geoseg.data.labelled_raster import FilePool, FileRaster, MemoryRaster
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, TrainSpec, parse_spec
from geoseg.training.data import image_files
from geoseg.training.data import stored_statistics as counting_module
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data
from geoseg.training.loader import Loader
from geoseg.training.windows.random_windows import Sampling, TrainingWindows, stack_windows

NOWHERE = Affine.identity()
CLASSES = [{"id": 3, "name": "grass", "color": "#00ff00"}, {"id": 9, "name": "water", "color": "#0000ff"}]
TILES = {"tiles": "tiles.csv", "bands": ["row", "column"], "band_indexes": [1, 2], "dtype": "uint16"}
ONE_BAND = {"tiles": "tiles.csv", "bands": ["value"]}


def spec_of(folder: Path, data: dict[str, Any] | None = None, **settings: Any) -> TrainSpec:
    """Settings whose paths start at a folder."""
    data = dict(data or TILES)
    for name in ("tiles", "images", "labels"):
        if name in data:
            data[name] = str(folder / data[name])
    values = {
        "name": "test",
        "data": data,
        "classes": CLASSES,
        "network": {"architecture": "pointwise"},
        "window": 32,
        "augment": {"warp": 0},
    }
    return parse_spec(TrainSpec, values | settings, source="test")


def read_band(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def place(row: float, col: float) -> Affine:
    return TRANSFORM @ Affine.translation(col, row)


def write_pair(
    folder: Path, name: str, height: int = 64, width: int = 64, *, row: int = 0, col: int = 0,
    labels: np.ndarray | None = None, **profile: Any,
) -> tuple[str, str]:  # fmt: skip
    """An image whose two bands are the row and the column of each pixel in the world, and random labels with gaps."""
    rows, cols = np.mgrid[row : row + height, col : col + width].astype(np.uint16) + 1000
    if labels is None:
        labels = np.random.default_rng(row + col).choice(np.uint8([3, 9, 255]), (height, width), p=[0.4, 0.2, 0.4])
    where = {"transform": place(row, col)} | profile
    write_raster(folder / f"{name}.tif", np.stack([rows, cols]), **where)
    write_raster(folder / f"{name}_l.tif", labels, **{"nodata": 255} | where)
    return f"{name}.tif", f"{name}_l.tif"


def write_table(folder: Path, rows: Iterable[tuple[str, ...]]) -> None:
    lines = [("image", "label", "split"), *rows]
    (folder / "tiles.csv").write_text("\n".join(",".join(line[: len(lines[1])]) for line in lines))


def write_tiles(folder: Path, splits: str, **options: Any) -> None:
    """One tile a split, side by side, and their list."""
    pairs = [write_pair(folder, f"t{i}", col=64 * i, **options) for i in range(len(splits.split()))]
    write_table(folder, [(*pair, split) for pair, split in zip(pairs, splits.split(), strict=True)])


def windows_of(data: TrainingData, count: int = 60, window: int = 32, read: int = 32) -> TrainingWindows:
    sampling = Sampling(window, read, count, 0.4, 0)
    return TrainingWindows(data.train.rasters, data.train.cells, sampling, data.normalization.mean)


def labelled(side: SplitSide) -> set[tuple[int, int]]:
    """Rows and columns in the world of all labelled pixels of a side."""
    found = set()
    for ground in side.rasters:
        everything = Window(0, 0, ground.height, ground.width)
        image, valid = ground.read(everything)
        known = valid & (ground.read_labels(everything) != IGNORE)
        found |= {(int(r), int(c)) for r, c in image[:, known].T}
    return found


def counted(side: SplitSide) -> int:
    return int(side.class_counts.sum())


def check_that_counts_are_exact(data: TrainingData) -> None:
    """What is counted is what is labelled, pixel for pixel; where images overlap, each of them is counted."""
    assert counted(data.train) == len(labelled(data.train))
    assert counted(data.val) == len(labelled(data.val))


# -------------------------------------------------------------------------------------------- nothing leaks, ever


def check_that_nothing_leaks(data: TrainingData, window: int, read: int, count: int = 80) -> None:
    """Neither labels nor image of validation ground are in any training window."""
    val = labelled(data.val)
    assert val
    assert not labelled(data.train) & val
    windows = windows_of(data, count, window, read)
    for index in range(count):
        image, labels = windows[index]
        shown = {(int(r), int(c)) for r, c in image.reshape(2, -1).T}
        assert not shown & val
        assert (labels != IGNORE).any()


@pytest.mark.parametrize("read", [32, 46])
def test_a_large_scene_is_split_into_blocks_and_nothing_leaks(tmp_path: Path, read: int) -> None:
    write_table(tmp_path, [write_pair(tmp_path, "scene", 700, 600)])
    augment = {"warp": 0.5, "scale": [1, read / 32]} if read > 32 else {"warp": 0}
    spec = spec_of(tmp_path, TILES | {"split": {"block_px": 128, "val_share": 0.15}}, augment=augment)
    assert spec.read_side == read
    data = read_training_data(spec)
    check_that_nothing_leaks(data, 32, read)
    check_that_counts_are_exact(data)


@pytest.mark.parametrize("by", ["blocks", "scene"])
def test_overlapping_scenes_are_split_and_nothing_leaks(tmp_path: Path, by: str) -> None:
    pairs = [write_pair(tmp_path, f"s{i}", 300, 280, row=r, col=c) for i, (r, c) in enumerate(
        [(0, 0), (37, 200), (200, 91), (500, 500), (460, 240)])]  # fmt: skip
    write_table(tmp_path, pairs)
    spec = spec_of(tmp_path, TILES | {"split": {"by": by, "block_px": 128, "val_share": 0.2}})
    check_that_nothing_leaks(read_training_data(spec), 32, 32)


def test_given_splits_of_neighbouring_tiles_do_not_leak(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train train val train train train test train")
    notices: list[str] = []
    data = read_training_data(spec_of(tmp_path), reporter=Watching(lines=notices))
    check_that_nothing_leaks(data, 32, 32)
    check_that_counts_are_exact(data)
    assert (data.train.images, data.val.images) == (6, 1)
    assert len(notices) == 1
    assert "labelled training pixels (4,834 px) lie within 32 px of validation or test pixels and are" in notices[0]


def test_an_image_that_is_given_twice_does_not_leak(tmp_path: Path) -> None:
    pair, other = write_pair(tmp_path, "a", 200, 200), write_pair(tmp_path, "b", 64, 64, col=900)
    shutil.copy(tmp_path / "a.tif", tmp_path / "copy.tif")
    write_table(tmp_path, [(*pair, "train"), ("copy.tif", pair[1], "val"), (*other, "train")])
    data = read_training_data(spec_of(tmp_path))
    check_that_nothing_leaks(data, 32, 32)
    assert {ground.name for ground in data.train.rasters} == {"b.tif"}


def test_a_random_split_is_only_done_when_asked_for_and_warned_of(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train " * 8)
    notices: list[str] = []
    data = read_training_data(spec_of(tmp_path, TILES | {"split": {"by": "random"}}), reporter=Watching(lines=notices))
    check_that_counts_are_exact(data)
    assert any("the split is random: validation pixels may lie beside training pixels" in line for line in notices)
    assert (data.train.images, data.val.images) == (6, 2)


def test_images_of_two_coordinate_systems(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train train")
    write_pair(tmp_path, "far", row=5000, crs="EPSG:32618")
    write_pair(tmp_path, "degrees", row=9000, crs="EPSG:4326", transform=Affine(1e-5, 0, -83, 0, -1e-5, 38.8))
    rows = [("t0.tif", "t0_l.tif", "train"), ("far.tif", "far_l.tif", "val"), ("degrees.tif", "degrees_l.tif", "train")]
    write_table(tmp_path, rows)
    data = read_training_data(spec_of(tmp_path))
    check_that_nothing_leaks(data, 32, 32)
    assert len(data.train.rasters) == 2
    assert data.resolution_m == 0.6


# -------------------------------------------------------------------------------------------- all ways to name data


def test_three_ways_to_name_the_same_data(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train train val")
    names = [{"image": str(tmp_path / f"t{i}.tif"), "label": str(tmp_path / f"t{i}_l.tif")} for i in range(3)]
    scenes = [scene | {"split": split} for scene, split in zip(names, ("train", "train", "val"), strict=True)]
    rest = {name: value for name, value in TILES.items() if name != "tiles"}
    one, other = (read_training_data(spec_of(tmp_path, data)) for data in (TILES, rest | {"scenes": scenes}))
    assert one.normalization == other.normalization
    assert labelled(one.train) == labelled(other.train)
    by_scene = {"split": {"by": "scene", "val_share": 0.3}}
    drawn = [
        read_training_data(spec_of(tmp_path, rest | by_scene | how))
        for how in ({"images": "t*.tif", "labels": "t*_l.tif"}, {"scenes": names})
    ]
    assert labelled(drawn[0].train) == labelled(drawn[1].train)
    assert labelled(drawn[0].val)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
@pytest.mark.parametrize("memory_mb", [0, 2048])
def test_a_scene_with_polygons_is_read_in_windows_and_no_tile_is_written(
    tmp_path: Path, crs: str, memory_mb: int
) -> None:
    write_pair(tmp_path, "scene", 600, 600)
    rng = np.random.default_rng(0)
    corners = [place(r, c) for r, c in rng.uniform(0, 570, (60, 2))]
    shapes = [shapely.Polygon([(at.c, at.f), (at.c + 19, at.f - 1), (at.c + 11, at.f - 17)]) for at in corners]
    frame = geopandas.GeoDataFrame({"id": range(60), "kind": ["Gras", "See", "x"] * 20}, geometry=shapes, crs=UTM)
    frame.to_crs(crs).to_file(tmp_path / "labels.gpkg")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    settings = {"label_column": "kind", "label_values": {"Gras": "grass", "See": 9, "other": "ignore"}}
    settings |= {"split": {"block_px": 128, "guard_px": 0}, "memory_mb": memory_mb, "images": "scene.tif"}
    rest = {name: value for name, value in TILES.items() if name != "tiles"}
    data = read_training_data(spec_of(tmp_path, rest | settings | {"labels": "labels.gpkg"}))
    burnt = rasterize(zip(shapes, [3, 9, 255] * 20, strict=True), (600, 600), 255, transform=TRANSFORM, dtype="uint8")
    found = np.array([counted(side) for side in (data.train, data.val)])
    assert found.sum() == (burnt != 255).sum()
    assert found[1] / found.sum() == pytest.approx(0.2, abs=0.1)
    assert sum(side.class_counts for side in (data.train, data.val)).tolist() == [(burnt == k).sum() for k in (3, 9)]
    kind = FileRaster if memory_mb == 0 else MemoryRaster
    assert all(isinstance(part.raster, kind) for ground in data.train.rasters for part in ground.rasters)
    windows_of(data)[3]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_pictures_without_coordinates_are_split_as_given(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paint = np.array([[0, 255, 0], [0, 0, 255], [155, 155, 155]], np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(rng.integers(0, 255, (50, 70, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
        index = rng.integers(0, 3, (50, 70))
        image = Image.fromarray(index.astype(np.uint8), "P") if name == "b" else Image.fromarray(paint[index])
        if name == "b":
            image.putpalette(paint.tobytes())
        image.save(tmp_path / f"{name}.png")
    write_table(tmp_path, [("a.jpg", "a.png", "train"), ("b.jpg", "b.png", "train"), ("c.jpg", "c.png", "val")])
    mapping = {"#00ff00": "grass", "#0000FF": "water", "#9b9b9b": "ignore"}
    rgb = {"tiles": "tiles.csv", "bands": ["red", "green", "blue"], "label_values": mapping}
    notices: list[str] = []
    data = read_training_data(spec_of(tmp_path, rgb), reporter=Watching(lines=notices))
    assert notices == []
    assert (len(data.train.rasters), len(data.val.rasters), data.resolution_m) == (2, 1, None)
    assert counted(data.train) == pytest.approx(2 * 50 * 70 * 2 / 3, rel=0.05)


def test_masks_without_coordinates_beside_geotiffs(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train val")
    for i in range(2):
        with rasterio.open(tmp_path / f"t{i}_l.tif") as dataset:
            Image.fromarray(dataset.read(1)).save(tmp_path / f"t{i}_l.png")
    plain = read_training_data(spec_of(tmp_path))
    write_table(tmp_path, [("t0.tif", "t0_l.png", "train"), ("t1.tif", "t1_l.png", "val")])
    assert labelled(read_training_data(spec_of(tmp_path)).train) == labelled(plain.train)


# -------------------------------------------------------------------------------------------------- pixels without data


def hide(path: Path, how: str, hidden: np.ndarray, values: np.ndarray) -> dict[str, Any]:
    """Write an image some of whose pixels (h, w) hold no data; give the settings that it needs."""
    if how == "alpha":
        alpha = np.where(hidden, 0, 255).astype(np.uint8)
        write_raster(path, np.stack([values, alpha]), ALPHA="YES")
    elif how == "mask band":
        write_raster(path, values, mask=~hidden)
    elif how == "nodata":
        write_raster(path, np.where(hidden, 77, values), nodata=77)
    elif how == "setting":
        write_raster(path, np.where(hidden, 77, values))
        return {"nodata": 77}
    else:
        write_raster(path, np.where(hidden, np.nan, values).astype(np.float32))
        return {"dtype": "float32"}
    return {}


@pytest.mark.parametrize("how", ["alpha", "mask band", "nodata", "setting", "nan"])
@pytest.mark.parametrize("memory_mb", [0, 2048])
def test_pixels_without_data_neither_teach_nor_count(tmp_path: Path, how: str, memory_mb: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 70, (64, 64), np.uint8)
    hidden = np.zeros((64, 64), bool)
    hidden[:, 40:] = True
    labels = rng.choice(np.uint8([3, 9]), (64, 64))
    settings = hide(tmp_path / "a.tif", how, hidden, values)
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    for name in ("a", "b"):
        write_raster(tmp_path / f"{name}_l.tif", labels, transform=NOWHERE, crs=None)
    write_raster(tmp_path / "far.tif", values.astype("float32" if how == "nan" else "uint8"), transform=place(0, 5000))
    write_table(tmp_path, [("a.tif", "a_l.tif", "val"), ("far.tif", "b_l.tif", "train")])
    wanted = ONE_BAND | {"band_indexes": [1], "memory_mb": memory_mb} | settings
    data = read_training_data(spec_of(tmp_path, wanted))
    assert counted(data.val) == (~hidden).sum()
    write_table(tmp_path, [("a.tif", "a_l.tif", "train"), ("far.tif", "b_l.tif", "val")])
    data = read_training_data(spec_of(tmp_path, wanted))
    assert counted(data.train) == (~hidden).sum()
    assert data.normalization.mean == pytest.approx([values[~hidden].mean()], rel=1e-4)
    assert data.normalization.std == pytest.approx([values[~hidden].std()], rel=1e-4)
    for index in range(10):
        image, shown = windows_of(data)[index]
        assert (shown[:, 39:][image[0, :, 39:] == np.float32(data.normalization.mean[0])] == IGNORE).all()
        assert np.isfinite(image).all()


def test_labels_are_ignored_where_they_hold_nodata(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).choice(np.int16([3, 9, -1, 255]), (64, 64))
    for name, col in (("a", 0), ("b", 900)):
        write_pair(tmp_path, name, col=col)
        write_raster(tmp_path / f"{name}_l.tif", labels, transform=place(0, col), nodata=-1)
    write_table(tmp_path, [("a.tif", "a_l.tif", "train"), ("b.tif", "b_l.tif", "val")])
    assert counted(read_training_data(spec_of(tmp_path)).train) == np.isin(labels, (3, 9)).sum()


@pytest.mark.parametrize(
    ("dtype", "said", "scale", "value_range"),
    [
        ("uint8", "uint8", 1, (0, 255)),
        ("uint16", "uint16", 40, (0, 2800)),
        ("int16", "int16", -100, (-7000, 0)),
        ("float64", "float32", 0.01, (0, 0.7)),
        ("int32", "uint16", 1000, (0, 70000)),
    ],
)
def test_images_of_all_types(
    tmp_path: Path, dtype: str, said: str, scale: float, value_range: tuple[float, float]
) -> None:
    values = (np.random.default_rng(0).integers(0, 71, (64, 64)) * scale).astype(dtype)
    labels = np.random.default_rng(1).choice(np.uint8([3, 9]), (64, 64))
    for name, col in (("a", 0), ("b", 900)):
        write_raster(tmp_path / f"{name}.tif", values, transform=place(0, col))
        write_raster(tmp_path / f"{name}_l.tif", labels, transform=place(0, col))
    write_table(tmp_path, [("a.tif", "a_l.tif", "train"), ("b.tif", "b_l.tif", "val")])
    data = read_training_data(spec_of(tmp_path, ONE_BAND | {"dtype": said}))
    assert data.normalization.mean == pytest.approx([values.mean(dtype=float)], rel=1e-5)
    assert data.normalization.std == pytest.approx([values.std(dtype=float)], rel=1e-5)
    assert data.value_range == pytest.approx(value_range, rel=1e-5)
    image, _ = windows_of(data)[0]
    assert np.isin(image, values.astype(np.float32)).all()


def test_statistics_are_those_of_training_ground_alone(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train train val train")
    data = read_training_data(spec_of(tmp_path))
    pixels = np.array(sorted(labelled(data.train)), float)
    assert data.normalization.mean == pytest.approx(pixels.mean(axis=0), rel=1e-5)
    assert data.normalization.std == pytest.approx(pixels.std(axis=0), rel=1e-4)


# ------------------------------------------------------------------------------------------------- memory and storage


def test_windows_are_the_same_from_memory_and_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "FilePool", lambda: FilePool(limit=2))
    write_tiles(tmp_path, "train val train train train")
    with rasterio.open(tmp_path / "t3.tif", "r+") as dataset:
        dataset.nodata = 1003
    held, disk = (read_training_data(spec_of(tmp_path, TILES | {"memory_mb": mb})) for mb in (2048, 0))
    assert isinstance(held.train.rasters[0].rasters[0].raster, MemoryRaster)  # type: ignore[attr-defined]
    assert isinstance(disk.train.rasters[0].rasters[0].raster, FileRaster)  # type: ignore[attr-defined]
    assert held.normalization == disk.normalization
    one, other = windows_of(held), windows_of(disk)
    for index in range(30):
        for a, b in zip(one[index], other[index], strict=True):
            assert np.array_equal(a, b)
    batches = [range(first, first + 3) for first in range(0, 30, 3)]
    for a, b in zip(Loader(one, batches, stack_windows), Loader(other, batches, stack_windows, 4), strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.labels, b.labels)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the grounds that are counted."""
    names, take = [], counting_module.count_classes

    def count_classes(ground: Any, *arguments: Any) -> Any:
        names.append(ground.name)
        return take(ground, *arguments)

    monkeypatch.setattr(counting_module, "count_classes", count_classes)
    return names


def later(path: Path) -> None:
    """Move a file's time on, as if it had been written again."""
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 10**9))


def test_what_was_counted_is_stored_and_used_again(tmp_path: Path, counting: list[str]) -> None:
    write_tiles(tmp_path, "train val train train")
    store, on_disk = tmp_path / "run" / "statistics.npz", TILES | {"memory_mb": 0}

    def read(data: dict[str, Any] = on_disk, **settings: Any) -> TrainingData:
        counting.clear()
        return read_training_data(spec_of(tmp_path, data, **settings), store=store)

    first = read()
    assert counting == ["t0.tif", "t1.tif", "t2.tif", "t3.tif"]
    assert [path.name for path in store.parent.iterdir()] == ["statistics.npz"]
    again = read()
    assert counting == []
    assert again.normalization == first.normalization
    assert labelled(again.train) == labelled(first.train)
    assert again.train.cells.counts.tolist() == first.train.cells.counts.tolist()

    read(on_disk | {"split": {"by": "scene", "guard_px": 0}, "class_balance": 0.9}, epochs=3)
    assert counting == [], "how ground is split and drawn does not change what it holds"

    for change in (
        lambda: read(on_disk | {"nodata": 5}),
        lambda: read(on_disk | {"band_indexes": [2, 1]}),
        lambda: read(on_disk | {"label_values": {3: "grass", "other": "water"}}),
        lambda: read(classes=CLASSES[::-1]),
    ):
        change()
        assert len(counting) == 4
    read()
    for path in ("t0.tif", "t3_l.tif"):
        later(tmp_path / path)
        read()
        assert len(counting) == 4
    read()
    assert counting == []
    (tmp_path / "t0.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    read()
    assert len(counting) == 4


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_store_is_counted_anew(tmp_path: Path, counting: list[str], damage: bytes | None) -> None:
    write_tiles(tmp_path, "train val")
    spec, store = spec_of(tmp_path, TILES | {"memory_mb": 0}), tmp_path / "statistics.npz"
    read_training_data(spec, store=store)
    content = store.read_bytes()
    half = len(content) // 2
    store.write_bytes(content[:half] + b"xxxx" + content[half + 4 :] if damage is None else damage)
    read_training_data(spec, store=store)
    read_training_data(spec, store=store)
    assert len(counting) == 4


def test_the_classes_of_a_shapefile_stand_in_a_file_beside_it(tmp_path: Path, counting: list[str]) -> None:
    write_pair(tmp_path, "scene", 300, 300)
    corners = [place(r, c) for r in (9, 99) for c in (9, 99)]
    boxes = [shapely.box(at.c, at.f - 24, at.c + 24, at.f) for at in corners]

    def save(*kinds: str) -> None:
        geopandas.GeoDataFrame({"kind": kinds}, geometry=boxes, crs=UTM).to_file(tmp_path / "l.shp")

    rest = {name: value for name, value in TILES.items() if name != "tiles"}
    data = rest | {"images": "scene.tif", "labels": "l.shp", "split": {"block_px": 64, "guard_px": 0}, "memory_mb": 0}
    save("grass", "water", "water", "grass")
    times = {path: path.stat() for path in tmp_path.glob("l.*")}
    read_training_data(spec_of(tmp_path, data), store=tmp_path / "c.npz")
    save("water", "grass", "grass", "grass")
    for path, was in times.items():
        if path.suffix != ".dbf":
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    read_training_data(spec_of(tmp_path, data), store=tmp_path / "c.npz")
    assert len(counting) == 2


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train val")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file is a file: choose a folder"):
        read_training_data(spec_of(tmp_path, TILES | {"memory_mb": 0}), store=tmp_path / "file" / "statistics.npz")


def test_progress_ends_at_all_pixels(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train val test")
    told: list[tuple[int, int]] = []
    read_training_data(spec_of(tmp_path), reporter=Heard(lambda _, *state: told.append(state)))
    assert told == [(4096, 8192), (8192, 8192)]


# ------------------------------------------------------------------------------------- one clear line for each mistake


def only(value: int) -> dict[str, Any]:
    return {"labels": np.full((64, 64), value, np.uint8)}


@pytest.mark.parametrize(
    ("kind", "splits", "tiles", "data", "said"),
    [
        (LabelError, "train train", {}, {}, "no labelled image has split val"),
        (LabelError, "test test", {}, {}, "all images have the split test, which is for the test of a finished model"),
        (LabelError, "train val", only(255), {}, "no labelled image has split train"),
        (LabelError, "train val", only(3), {}, "no training pixel shows class 9 water: label some of it there"),
        (LabelError, "train val", only(4), {}, r"t0_l\.tif: class id 4 is unknown; the classes are 3 grass, 9 water"),
        (LabelError, "train val", {}, {"dtype": "uint8"}, r"t0\.tif holds uint16, not uint8: correct data\.dtype"),
        (LabelError, "train val", {}, {"band_indexes": [1, 7]}, r"t0\.tif has 2 bands .*, among which row, column "),
        (LabelError, "train val", {}, {"split": {"column": "fold"}}, "has no column fold, which data.split"),
        (LabelError, "train val", {}, {"split": {"guard_px": 99}}, "no labelled training pixels are left: .*guard_px"),
        (LabelError, "train", {}, {"split": {"by": "scene"}}, "1 of the images has labels, which cannot be split"),
        (SpecError, "train val", {}, {"label_values": {3: "gras"}}, "data.label_values leads to 'gras'"),
        (LabelError, "train val", {}, {"label_values": {"#000000": "grass"}}, "no palette, but data.label_values of"),
        (LabelError, "train val", {}, {"tiles": "none.csv"}, r"cannot read the list of tiles .*none\.csv"),
        (SpecError, "train val", {}, {"split": {"by": "columns"}}, r"data\.split\.by = 'columns': "),
        (SpecError, "train val", {}, {"split": {"val_share": 1.5}}, r"data\.split\.val_share = 1\.5: "),
        (SpecError, "train val", {}, {"images": "*.tif"}, "give one of `tiles`"),
        (SpecError, "train val", {}, {"tils": "x.csv"}, "unknown setting 'data.tils', did you mean tiles"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_clear_line(
    tmp_path: Path, kind: type[GeosegError], splits: str, tiles: dict, data: dict, said: str
) -> None:
    write_tiles(tmp_path, splits, **tiles)
    with pytest.raises(kind, match=said) as caught:
        read_training_data(spec_of(tmp_path, TILES | data))
    assert "\n" not in str(caught.value)


def test_labels_on_another_grid_and_missing_files_are_named(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train val")
    write_raster(tmp_path / "t1_l.tif", np.full((64, 64), 3, np.uint8), transform=place(0.5, 64))
    with pytest.raises(LabelError, match=r"t1_l\.tif is not on the grid of its image .*t1\.tif: .*gdalwarp"):
        read_training_data(spec_of(tmp_path))
    (tmp_path / "t1_l.tif").unlink()
    with pytest.raises(LabelError, match=r"cannot read labels .*t1_l\.tif"):
        read_training_data(spec_of(tmp_path))
    (tmp_path / "t0.tif").unlink()
    with pytest.raises(SceneError, match=r"no scene at .*t0\.tif"):
        read_training_data(spec_of(tmp_path))


def test_labels_of_255_are_told_and_asked_for_where_a_class_is_missing(tmp_path: Path) -> None:
    notices: list[str] = []
    write_tiles(tmp_path, "train val", nodata=None)
    read_training_data(spec_of(tmp_path), reporter=Watching(lines=notices))
    left_out = sum((read_band(tmp_path / f"t{i}_l.tif") == 255).sum() for i in range(2))
    assert [line for line in notices if f"labels: {left_out:,} px of the value 255 count as not labelled" in line]
    mask = np.where(np.eye(64, dtype=bool), 255, 3).astype(np.uint8)
    write_tiles(tmp_path, "train val", labels=mask, nodata=None)
    with pytest.raises(LabelError, match=r"class 9 water, but the labels hold 255 in 128 px.*\(3: grass, 255: water\)"):
        read_training_data(spec_of(tmp_path))
    named = TILES | {"label_values": {3: "grass", 255: "water"}}
    assert read_training_data(spec_of(tmp_path, named)).val.class_counts.tolist() == [4032, 64]


@pytest.mark.parametrize(("profile", "values"), [({}, {}), ({"nodata": None}, {3: "grass", 9: "water", 255: "ignore"})])
def test_255_that_is_said_to_be_unlabelled_needs_no_word(tmp_path: Path, profile: dict, values: dict) -> None:
    notices: list[str] = []
    write_tiles(tmp_path, "train val", **profile)
    read_training_data(spec_of(tmp_path, TILES | {"label_values": values}), reporter=Watching(lines=notices))
    assert not [line for line in notices if "255" in line]


def test_a_class_that_cannot_be_scored_is_told(tmp_path: Path) -> None:
    write_tiles(tmp_path, "train val")
    write_raster(tmp_path / "t1_l.tif", np.full((64, 64), 3, np.uint8), transform=place(0, 64))
    notices: list[str] = []
    read_training_data(spec_of(tmp_path, TILES | {"split": {"guard_px": 0}}), reporter=Watching(lines=notices))
    assert notices == ["no validation pixel shows class 9 water: nothing can be said of how well it is found"]


# ---------------------------------------------------------------------------------------------------------- real data


@needs_shared_data
def test_dubai_both_kinds_of_masks_at_once(tmp_path: Path) -> None:
    folder = SHARED_DATA / "labelled" / "dubai_mbrsc_6class"
    names = {"#3C1098": "building", "#8429F6": "land", "#6EC1E4": "road", "#FEDD3A": "vegetation", "#E2A929": "water"}
    rows = [(f"tile_{t}/image_part_00{p}", split) for t, p, split in ((4, 1, "train"), (8, 2, "train"), (1, 1, "val"))]
    write_table(tmp_path, [(f"{folder}/images/{n}.jpg", f"{folder}/labels/{n}.png", split) for n, split in rows])
    classes = [{"id": i, "name": name, "color": color} for i, (color, name) in enumerate(names.items())]
    data = {"tiles": "tiles.csv", "bands": ["red", "green", "blue"]}
    data["label_values"] = names | {"#9B9B9B": "ignore", "#000000": "ignore"}
    notices: list[str] = []
    found = read_training_data(spec_of(tmp_path, data, classes=classes), reporter=Watching(lines=notices))
    expected = np.zeros(5, int)
    for name, _ in rows[:2]:
        picture = np.array(Image.open(folder / "labels" / f"{name}.png").convert("RGB"))
        expected += [(picture == tuple(bytes.fromhex(color[1:]))).all(axis=2).sum() for color in names]
    assert found.train.class_counts.tolist() == expected.tolist()
    assert found.resolution_m is None


@needs_shared_data
@pytest.mark.parametrize("memory_mb", [0, 2048])
def test_rachel_carson_polygons_on_another_crs_and_fill_that_no_tag_tells(tmp_path: Path, memory_mb: int) -> None:
    folder = SHARED_DATA / "labelled" / "s2_rachel_carson_polygons"
    image = folder / "images" / "2018-10-13, Sentinel-2B L1C, B08.tiff"
    green = ("Forested Wetland", "Emergent Wetland", "Herbaceous")
    data = {
        "scenes": [{"image": str(image), "label": str(folder / "labels" / "landcover_polygons.gpkg")}],
        "bands": ["nir"],
        "band_indexes": [1],
        "nodata": 255,
        "label_column": "Classname",
        "label_values": dict.fromkeys(green, "grass") | {"other": "water"},
        "split": {"block_px": 64, "val_share": 0.3},
        "memory_mb": memory_mb,
    }
    found = read_training_data(spec_of(tmp_path, data))
    assert 400 < counted(found.train) + counted(found.val) < 650
    assert found.resolution_m == pytest.approx(8.2, abs=0.5)
    windows = windows_of(found)
    assert all((windows[i][1] != IGNORE).any() for i in range(10))
    assert found.normalization.mean[0] < 255


@needs_shared_data
@pytest.mark.parametrize("by", ["column", "blocks"])
def test_naip_tiles_are_joined_and_validation_stays_apart(tmp_path: Path, by: str) -> None:
    folder = SHARED_DATA / "labelled" / "naip_ohio_6class"
    lines = list(csv.DictReader((folder / "split.csv").open()))
    some = lines[:30]
    if by == "column":
        for number, line in enumerate(some):
            line["split"] = "val" if number % 10 == 9 else "train"
    rows = [(f"{folder}/{line['image']}", f"{folder}/{line['label']}", line["split"]) for line in some]
    write_table(tmp_path, rows if by == "column" else [(*row[:2], "") for row in rows])
    names = ("background", "building", "road", "bareland", "forest", "water")
    classes = [{"id": i, "name": name, "color": "#000000"} for i, name in enumerate(names)]
    data = {"tiles": "tiles.csv", "bands": ["red", "green", "blue", "nir"], "split": {"by": by, "block_px": 256}}
    found = read_training_data(spec_of(tmp_path, data, classes=classes))
    assert (len(found.train.rasters), len(found.val.rasters)) == (3, 3)
    assert (found.train.class_counts > 10_000).all()
    parts = [part for ground in found.val.rasters for part in ground.rasters]
    scored = shapely.union_all([
        shapely.box(*part.grid.box(Window(top, left, bottom - top, right - left)))
        for part in parts for top, left, bottom, right in part.open.bounds.tolist()  # type: ignore[attr-defined]
    ])  # fmt: skip
    assert scored.area > 3 * 256**2 * 0.36
    windows = windows_of(found)
    for index in range(100):
        ground, window = windows.draw(np.random.default_rng(index))
        shown = shapely.box(*ground.grid.box(window.clip(ground.height, ground.width)))
        assert shown.intersection(scored).area < 1e-3
