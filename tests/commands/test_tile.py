"""Tiles hold what the scenes hold: what is learnt from them is what would be learnt from the scenes."""

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import yaml
from affine import Affine
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rasterio.features import shapes
from rasterio.transform import from_origin
from shapely.geometry import shape
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.tile import tile
from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.data.tile_files import TileFiles
from geoseg.data.tile_lattice import TileLattice
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, load_train_spec
from geoseg.training.data.split_sides import SplitSide
from geoseg.training.data.training_data import TrainingData, read_training_data

SPEC: dict[str, Any] = {
    "name": "small",
    "classes": [
        {"id": 3, "name": "grass", "color": "#00ff00"},
        {"id": 9, "name": "water", "color": "#0000ff"},
        {"id": 4, "name": "road", "color": "#808080"},
    ],
    "network": {"architecture": "pointwise"},
    "augment": {"warp": 0},
    "epochs": 1,
    "windows_per_epoch": 4,
    "batch_size": 4,
    "window": 32,
    "precision": "fp32",
    "device": "cpu",
}
SPLIT = {"by": "blocks", "block_px": 96, "guard_px": 64, "val_share": 0.15}
NOWHERE = {"crs": None, "transform": Affine.identity()}
HEIGHT, WIDTH = 192, 448


def band_values(bands: int, dtype: str, height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    top = {"uint8": 255, "uint16": 65535, "int16": 32767, "float32": 1}[dtype]
    random = np.random.default_rng(seed).random((bands, height, width))
    return (random * top).astype(dtype)


def class_ids(height: int = HEIGHT, width: int = WIDTH, seed: int = 1, blob: int = 16) -> np.ndarray:
    """Ids of all classes in blobs; a fifth is not labelled."""
    small = np.random.default_rng(seed).choice([3, 9, 4, 255], (height // blob, width // blob), p=[0.3, 0.3, 0.2, 0.2])
    return np.kron(small, np.ones((blob, blob))).astype(np.uint8)


def write_config(folder: Path, data: dict[str, Any], name: str = "config.yaml") -> Path:
    (folder / name).write_text(yaml.safe_dump(SPEC | {"data": {"split": SPLIT} | data}))
    return folder / name


def scene_config(folder: Path, values: np.ndarray, ids: np.ndarray, data: dict[str, Any], **profile: Any) -> Path:
    """Write a scene with a raster of labels, and a config for it."""
    place = {name: profile[name] for name in ("crs", "transform") if name in profile}
    write_raster(folder / "town.tif", values, **profile)
    write_raster(folder / "town_labels.tif", ids, **place)
    bands = ["red", "green", "blue", "nir"][: len(values)]
    scene = {"image": "town.tif", "label": "town_labels.tif"}
    return write_config(folder, {"scenes": [scene], "bands": bands, "dtype": values.dtype.name} | data)


def read(config: Path) -> TrainingData:
    return read_training_data(load_train_spec(config))


def config_of(output: Path) -> Path:
    """The start of a config that comes with the tiles, and what has to be added."""
    path = output / "train.yaml"
    path.write_text(yaml.safe_dump(SPEC | yaml.safe_load((output / "classes.yaml").read_text("utf-8"))))
    return path


def pixels(side: SplitSide) -> np.ndarray:
    """Labelled pixels as sorted rows (N, 3 + C): x and y in pixels (0 if nowhere), class index, band values."""
    rows = []
    for ground in side.rasters:
        window = Window(0, 0, ground.height, ground.width)
        (values, valid), labels = ground.read(window), ground.read_labels(window)
        row, col = np.nonzero(valid & (labels != IGNORE))
        place = np.array(ground.grid.xy(col, row)) if ground.grid.is_georeferenced else np.zeros((2, len(row)))
        rows.append(np.stack([*np.round(place / ground.grid.step, 1), labels[row, col], *values[:, row, col]], axis=1))
    together = np.concatenate(rows)
    return together[np.lexsort(together.T[::-1])]


def assert_same(scenes: TrainingData, tiles: TrainingData) -> None:
    for ours, theirs in ((scenes.train, tiles.train), (scenes.val, tiles.val)):
        assert ours.class_counts.tolist() == theirs.class_counts.tolist()
        np.testing.assert_array_equal(pixels(ours), pixels(theirs))
    assert scenes.resolution_m == tiles.resolution_m
    np.testing.assert_allclose(scenes.normalization.mean, tiles.normalization.mean, rtol=1e-5)
    np.testing.assert_allclose(scenes.normalization.std, tiles.normalization.std, rtol=1e-5)


def some_tile(folder: Path) -> tuple[Path, tuple[slice, slice]]:
    """A tile of 64 pixels, and where in the scene it is."""
    path = sorted(folder.glob("town_train_0_64_*.tif"))[0]
    row, col = map(int, path.stem.split("_")[-2:])
    return path, Window(row, col, 64, 64).slices


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["tile", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return scene_config(tmp_path, band_values(4, "uint8"), class_ids(), {})


# ------------------------------------------------------------------------------------------------------- round trips


def holes(values: np.ndarray, value: float) -> np.ndarray:
    """Values with a corner, and pixels here and there, that hold no data in any band."""
    values[:, :40, :90] = value
    values[:, np.random.default_rng(2).random(values.shape[1:]) < 0.05] = value
    return values


def one_hole(values: np.ndarray, value: float) -> np.ndarray:
    """Values with pixels that hold no data in their last band."""
    values[-1, 30:50, 100:140] = value
    return values


MASK = np.where(np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 7 == 0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("values", "profile", "data"),
    [
        (band_values(4, "uint8"), {}, {}),
        (holes(band_values(3, "uint8"), 0), {"nodata": 0}, {}),
        (holes(band_values(1, "uint8"), 7), {}, {"nodata": 7}),
        (band_values(3, "uint8"), {"mask": MASK}, {}),
        (band_values(4, "uint8"), NOWHERE, {}),
        (band_values(3, "uint8"), {"mask": MASK} | NOWHERE, {}),
        (band_values(4, "uint16"), {}, {}),
        (one_hole(band_values(4, "uint16"), 0), {"nodata": 0}, {}),
        (band_values(2, "uint16"), {"nodata": 65535} | NOWHERE, {}),
        (one_hole(band_values(2, "int16"), -9999), {"nodata": -9999}, {"dtype": "uint16"}),
        (band_values(3, "float32"), {}, {}),
        (one_hole(band_values(3, "float32"), np.nan), {"nodata": np.nan}, {}),
        (one_hole(band_values(3, "float32"), np.nan), {}, {}),
        (one_hole(band_values(3, "float32"), -1e30), {"nodata": -1e30}, {}),
        (band_values(2, "uint8"), {"crs": "EPSG:4326", "transform": from_origin(11.5, 48.2, 1e-5, 1e-5)}, {}),
        (band_values(2, "uint8"), {"crs": None}, {}),
    ],
    ids=lambda value: value.dtype.name if isinstance(value, np.ndarray) else None,
)
def test_tiles_hold_what_their_scene_holds(tmp_path, values, profile, data):
    config = scene_config(tmp_path, values.copy(), class_ids(), data, **profile)
    result = tile(config, tmp_path / "out", size=64, min_labelled=0)
    scenes = read(config)
    assert_same(scenes, read(config_of(tmp_path / "out")))
    assert list(result.train_pixels.values()) == scenes.train.class_counts.tolist()
    assert list(result.val_pixels.values()) == scenes.val.class_counts.tolist()
    assert result.dtype == values.dtype.name
    with rasterio.open(next((tmp_path / "out" / "images").iterdir())) as image:
        assert image.dtypes[0] == values.dtype.name
        assert (image.height, image.width) == (64, 64)
        assert image.descriptions == tuple(load_train_spec(config).data.bands)


def test_polygons_in_another_crs_become_the_raster_that_training_sees(tmp_path):
    write_raster(tmp_path / "town.tif", band_values(3, "uint8"))
    ids = class_ids()
    found = [(shape(s), int(k)) for s, k in shapes(ids, mask=ids != 255, transform=TRANSFORM)]
    frame = geopandas.GeoDataFrame({"kind": [f"k{k}" for _, k in found]}, geometry=[s for s, _ in found], crs=UTM)
    frame.to_crs("EPSG:4326").to_file(tmp_path / "kinds.gpkg")
    data = {
        "scenes": [{"image": "town.tif", "label": "kinds.gpkg"}],
        "bands": ["red", "green", "blue"],
        "label_column": "kind",
        "label_values": {"k3": "grass", "k9": 9, "k4": "ignore", "other": "ignore"},
    }
    classes = SPEC["classes"][:2]
    config = write_config(tmp_path, data)
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"classes": classes}))
    tile(config, tmp_path / "out", size=64, min_labelled=0)
    assert_same(read(config), read(config_of(tmp_path / "out")))


def test_scenes_that_touch_give_tiles_across_their_seam(tmp_path):
    """Two scenes side by side, found by a pattern; the seam runs through the middle of tiles."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    values, ids = band_values(3, "uint8", 192, 448), class_ids(192, 448)
    for name, part in (("west", slice(0, 160)), ("east", slice(160, 448))):
        place = {"transform": TRANSFORM @ Affine.translation(part.start, 0)}
        write_raster(tmp_path / "images" / f"{name}.tif", values[..., part], **place)
        write_raster(tmp_path / "labels" / f"{name}.tif", ids[..., part], **place)
    data = {"images": "images/*.tif", "labels": "labels/*.tif", "bands": ["red", "green", "blue"]}
    config = write_config(tmp_path, data)
    tile(config, tmp_path / "out", size=64, min_labelled=0)
    assert_same(read(config), read(config_of(tmp_path / "out")))
    with rasterio.open(next((tmp_path / "out" / "images").glob("*_128.tif"))) as image:
        assert image.read_masks(1).all()
        assert (image.bounds.left - TRANSFORM.c) / 0.6 == pytest.approx(128)


def test_given_splits_are_kept_and_other_words_left_out(tmp_path):
    lines = ["image,label,split"]
    for number, split in enumerate(("train", "val", "test", "train", "spare")):
        place = {"transform": TRANSFORM @ Affine.translation(1000 * number, 0)}
        write_raster(tmp_path / f"{number}.tif", band_values(2, "uint16", 64, 128, seed=number), **place)
        write_raster(tmp_path / f"{number}_l.tif", class_ids(64, 128, seed=number), **place)
        lines.append(f"{number}.tif,{number}_l.tif,{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    config = write_config(tmp_path, {"tiles": "list.csv", "bands": ["red", "nir"], "dtype": "uint16", "split": {}})
    tile(config, tmp_path / "out", size=64, min_labelled=0)
    assert_same(read(config), read(config_of(tmp_path / "out")))
    rows = list(csv.DictReader((tmp_path / "out" / "tiles.csv").open()))
    assert {(Path(row["image"]).name[0], row["split"]) for row in rows} == {
        ("0", "train"),
        ("3", "train"),
        ("1", "val"),
        ("2", "test"),
    }


def test_images_that_disagree_on_nodata_get_masks(tmp_path):
    lines = ["image,label,split"]
    for number, split in enumerate(("train", "val", "train")):
        place = {"transform": TRANSFORM @ Affine.translation(1000 * number, 0)}
        values = holes(band_values(2, "uint8", 64, 128, seed=number), 255 * (number % 2))
        write_raster(tmp_path / f"{number}.tif", values, nodata=255 * (number % 2), **place)
        write_raster(tmp_path / f"{number}_l.tif", class_ids(64, 128, seed=number), **place)
        lines.append(f"{number}.tif,{number}_l.tif,{split}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    config = write_config(tmp_path, {"tiles": "list.csv", "bands": ["red", "nir"], "split": {}})
    assert tile(config, tmp_path / "out", size=64, min_labelled=0).nodata is None
    assert_same(read(config), read(config_of(tmp_path / "out")))
    assert not list((tmp_path / "out").rglob("*.msk")), "masks are inside the files"


def test_bands_are_taken_from_where_the_config_finds_them(tmp_path):
    values = band_values(5, "uint8")
    config = scene_config(tmp_path, values, class_ids(), {"bands": ["nir", "green"], "band_indexes": [5, 2]})
    tile(config, tmp_path / "out", size=64, min_labelled=0)
    assert_same(read(config), read(config_of(tmp_path / "out")))
    path, at = some_tile(tmp_path / "out" / "images")
    with rasterio.open(path) as image:
        np.testing.assert_array_equal(image.read(), values[[4, 1]][:, *at])


def test_geoseg_trains_on_the_tiles(config, tmp_path):
    from geoseg.commands.train import train

    tile(config, tmp_path / "out", size=64)
    result = train(config_of(tmp_path / "out"), tmp_path / "run")
    assert result.scores.pixels == read(config).val.class_counts.sum()


@pytest.mark.parametrize("guard_px", [0, 20])
def test_labels_that_training_will_not_see_in_the_tiles_are_told(tmp_path, guard_px):
    """Within a guard band narrower than a tile, validation tiles reach over training labels."""
    config = scene_config(tmp_path, band_values(1, "uint8"), class_ids(), {"split": SPLIT | {"guard_px": guard_px}})
    heard = Heard()
    result = tile(config, tmp_path / "out", size=96, min_labelled=0, reporter=heard)
    assert heard.lines == list(result.notices)
    hidden = int(next(line for line in heard.lines if "inside validation tiles" in line).split()[0].replace(",", ""))
    seen = {row[:2].tobytes() for row in pixels(read(config_of(tmp_path / "out")).train)}
    meant = {row[:2].tobytes() for row in pixels(read(config).train)}
    assert seen < meant
    assert len(meant - seen) <= hidden <= 2 * len(meant - seen), "overlapping tiles count twice"


# ------------------------------------------------------------------------------------------------------------- tiles


@given(length=st.integers(1, 300), size=st.integers(32, 128), overlap=st.integers(0, 31))
def test_a_lattice_covers_an_axis_with_full_tiles(length, size, overlap):
    starts = TileLattice(size, overlap).starts(length)
    ends = np.minimum(starts + size, length)
    assert starts[0] == 0
    assert ends[-1] == length
    assert (np.diff(starts) > 0).all()
    assert (starts[1:] <= ends[:-1] - overlap).all()
    assert ((ends - starts) == min(size, length)).all()
    assert (starts[:-1] % (size - overlap) == 0).all()


@given(
    cells=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), max_size=9),
    size=st.integers(32, 128),
    overlap=st.integers(0, 31),
)
def test_tiles_are_those_that_meet_a_cell(cells, size, overlap):
    corners = np.array(cells, np.int64).reshape(-1, 2) * 32
    lattice = TileLattice(size, overlap)
    expected = [
        Window(int(row), int(col), size, size).clip(310, 250)
        for row in lattice.starts(310)
        for col in lattice.starts(250)
        if any(row < r + 32 and row + size > r and col < c + 32 and col + size > c for r, c in corners)
    ]
    assert lattice.windows(310, 250, corners) == expected


def test_the_last_tiles_end_on_the_edge(config, tmp_path):
    tile(config, tmp_path / "out", size=100, overlap=10, min_labelled=0)
    places = {tuple(map(int, p.stem.split("_")[-2:])) for p in (tmp_path / "out" / "images").iterdir()}
    assert {row for row, _ in places} == {0, 90, 92}
    assert {col for _, col in places} == {0, 90, 180, 270, 348}


def test_ground_smaller_than_a_tile_gives_a_smaller_one(config, tmp_path):
    tile(config, tmp_path / "out", size=300)
    with rasterio.open(next((tmp_path / "out" / "images").iterdir())) as image:
        assert (image.height, image.width) == (192, 300)


def test_tiles_of_few_labels_are_left_out(tmp_path):
    ids = np.full((64, 448), 255, np.uint8)
    ids[:32, 256:], ids[:20, :10] = class_ids(32, 192), 3
    scenes = []
    for number, split in enumerate(("train", "val")):
        place = {"transform": TRANSFORM @ Affine.translation(5000 * number, 0)}
        write_raster(tmp_path / f"{split}.tif", band_values(1, "uint8", 64, 448), **place)
        write_raster(tmp_path / f"{split}_l.tif", ids, **place)
        scenes.append({"image": f"{split}.tif", "label": f"{split}_l.tif", "split": split})
    config = write_config(tmp_path, {"scenes": scenes, "bands": ["red"], "split": {}})
    every = tile(config, tmp_path / "every", size=64, min_labelled=0)
    some = tile(config, tmp_path / "some", size=64, min_labelled=0.1)
    assert (every.train_tiles, every.val_tiles, every.sparse_tiles) == (4, 4, 0)
    assert (some.train_tiles, some.val_tiles, some.sparse_tiles) == (3, 3, 2)
    with pytest.raises(LabelError, match=r"tile is labelled on 90\.0% of its pixels: lower --min-labelled"):
        tile(config, tmp_path / "none", size=64, min_labelled=0.9)
    assert not (tmp_path / "none").exists()


def test_labels_are_class_rasters(config, tmp_path):
    tile(config, tmp_path / "out", size=64, min_labelled=0)
    path, (rows, cols) = some_tile(tmp_path / "out" / "labels")
    place = TRANSFORM @ Affine.translation(cols.start, rows.start)
    with rasterio.open(path) as labels, rasterio.open(tmp_path / "out" / "images" / path.name) as image:
        found, ids = labels.read(1), class_ids()[rows, cols]
        assert (found != 255).any()
        np.testing.assert_array_equal(found, np.where(found == 255, 255, ids))
        assert (labels.nodata, labels.dtypes[0]) == (255, "uint8")
        assert labels.colormap(1)[9] == (0, 0, 255, 255)
        assert labels.tags()["CLASS_9"] == "water"
        assert json.loads(labels.tags()["GEOSEG_CLASSES"])[0]["name"] == "grass"
        assert (labels.transform, labels.crs) == (image.transform, image.crs) == (place, rasterio.CRS.from_string(UTM))
        assert labels.compression.name == image.compression.name == "deflate"
        assert [color.name for color in image.colorinterp] == ["red", "green", "blue", "undefined"]


# ----------------------------------------------------------------------------------------------------------- folders


def test_results_are_replaced_only_on_demand(config, tmp_path):
    first = tile(config, tmp_path / "out", size=64)
    with pytest.raises(OutputError, match=r"tiles\.csv exists: pass --overwrite"):
        tile(config, tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    second = tile(config, tmp_path / "out", size=128, overwrite=True)
    assert first.train_tiles > second.train_tiles
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["classes.yaml", "images", "labels", "notes.txt", "tiles.csv"]
    assert len(list((tmp_path / "out" / "images").iterdir())) == second.train_tiles + second.val_tiles


def test_what_somebody_else_wrote_is_never_cleared_away(config, tmp_path):
    (tmp_path / "out" / "images").mkdir(parents=True)
    (tmp_path / "out" / "images" / "mine.tif").write_text("mine")
    with pytest.raises(OutputError, match="images exists and was not written by geoseg tile: choose another --output"):
        tile(config, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "images" / "mine.tif").exists()


def test_tiles_are_not_tiled_onto_themselves(config, tmp_path):
    tile(config, tmp_path / "out", size=64)
    with pytest.raises(OutputError, match="is to be tiled and lies where the tiles would go"):
        tile(config_of(tmp_path / "out"), tmp_path / "out", overwrite=True)
    again = tile(config_of(tmp_path / "out"), tmp_path / "again", size=64)
    assert again.train_pixels == tile(config, tmp_path / "third", size=64).train_pixels


@pytest.mark.parametrize("is_new", [True, False])
def test_a_failure_leaves_nothing_behind(config, tmp_path, monkeypatch, is_new):
    if not is_new:
        tile(config, tmp_path / "out", size=64)
    before = sorted(tmp_path.rglob("*"))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TileFiles, "_write_labels", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        tile(config, tmp_path / "out", size=128, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"size": 16}, "size = 16: it must be greater than or equal to 32"),
        ({"size": 64, "overlap": 64}, "overlap 64: give 0 to 63 pixels"),
        ({"overlap": -1}, "overlap = -1"),
        ({"min_labelled": 1.5}, "min_labelled = 1.5: it must be less than or equal to 1"),
        ({"min_labelled": float("nan")}, "min_labelled = nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, tmp_path, settings, says):
    with pytest.raises(SpecError, match=says):
        tile(config, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


# ----------------------------------------------------------------------------------------------------------- command


def test_the_command_says_what_it_wrote(config, tmp_path):
    result = run(config, "-o", tmp_path / "out", "--size", 64)
    assert result.exit_code == 0
    for said in ("labelled pixels", "grass", "training and", "tiles.csv", "classes.yaml"):
        assert said in result.stdout
    report = json.loads(run(config, "-o", tmp_path / "json", "--size", 64, "--json").stdout)
    assert report["tiles"] == str(tmp_path / "json" / "tiles.csv")
    assert report["train_pixels"].keys() == {"grass", "water", "road"}
    assert run(config, "-o", tmp_path / "quiet", "-q").output == ""


def test_the_command_fails_in_one_line(config, tmp_path):
    result = run(config, "-o", tmp_path / "out", "--size", 5)
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (1, 1, "")
    assert run(config).exit_code == 2
    assert run(tmp_path / "missing.yaml", "-o", tmp_path / "out").exit_code == 1


def test_progress_reaches_its_end(config, tmp_path):
    heard = Heard()
    result = tile(config, tmp_path / "out", size=64, reporter=heard)
    reading = [state for state in heard.progressed if state[0] == "reading"]
    assert reading[-1][1:] == (HEIGHT * WIDTH, HEIGHT * WIDTH)
    total = result.train_tiles + result.val_tiles + result.sparse_tiles
    assert heard.progressed[-1] == ("writing", total, total)


@pytest.mark.parametrize("at", ["reading", "tiling"])
def test_a_folder_that_is_removed_in_the_middle_is_an_error_in_one_line(tmp_path: Path, at: str) -> None:
    config = scene_config(tmp_path, band_values(3, "uint8"), class_ids(), {})

    def remove(stage: str, done: int, total: int) -> None:
        if stage != "reading" or at == "reading":
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    with pytest.raises(OutputError) as raised:
        tile(config, tmp_path / "out", size=64, reporter=Heard(remove))
    assert len(str(raised.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    config = scene_config(tmp_path, band_values(3, "uint8"), class_ids(), {})
    child = os.fork()
    if not child:
        end = Heard(lambda stage, *_: stage != "reading" and os._exit(0))
        tile(config, tmp_path / "out", size=64, reporter=end)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list((tmp_path / "out").glob(".*"))) == 2
    tile(config, tmp_path / "out", size=64)
    assert not list((tmp_path / "out").glob(".*"))
