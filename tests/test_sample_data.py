import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

FOLDER = Path(__file__).parents[1] / "sample_data"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_sample_data", FOLDER / "make_sample_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _same_grid(one, other):
    return (one.shape, one.transform, one.crs) == (other.shape, other.transform, other.crs)


@pytest.mark.parametrize(("height", "width", "seed"), [(210, 333, 5), (64, 64, 0), (700, 90, 3)])
def test_the_same_seed_gives_the_same_scene(script, height, width, seed):
    image, ids = script.make_scene(height, width, seed)
    again, ids_again = script.make_scene(height, width, seed)
    assert image.shape == (4, height, width)
    assert image.dtype == ids.dtype == np.uint8
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(ids, ids_again)
    assert not np.array_equal(image, script.make_scene(height, width, seed + 1)[0])


def test_class_colours_are_told_apart_by_their_measured_look(script):
    """Forest is darker than grass, water has no infrared, bare land is brighter than grass: as in real NAIP."""
    image, ids = script.make_scene(480, 640, 21)
    means = {one["name"]: image[:, ids == one["id"]].mean(axis=1) for one in script.CLASSES}
    assert means["forest"][0] < means["background"][0] - 25
    assert means["bare land"][0] > means["background"][0] + 25
    assert means["water"][3] < 60 < means["forest"][3]


def test_the_shadow_of_a_wood_is_labelled_with_it(script):
    """The sun stands in the east. Left of a wood lies its shadow, dark in the infrared; labelled grass is not."""
    image, ids = script.make_scene(480, 640, 21)
    rows, cols = np.nonzero((ids[:, :-8] == script.BACKGROUND) & (ids[:, 1:-7] == script.FOREST))
    inside, outside = ([image[3][rows, cols + step].mean() for step in steps] for steps in ((3, 4, 5), (-2, -1, 0)))
    assert max(inside) < min(outside) - 30


def test_committed_scene_and_labels_share_a_grid_and_hold_every_class(script):
    with rasterio.open(FOLDER / "scene.tif") as scene, rasterio.open(FOLDER / "scene_labels.tif") as labels:
        assert _same_grid(scene, labels)
        assert scene.count == 4
        assert [c.name for c in scene.colorinterp] == ["red", "green", "blue", "undefined"]
        assert scene.res == (0.6, 0.6)
        assert set(np.unique(labels.read(1))) == set(range(6))
        assert json.loads(labels.tags()["GEOSEG_CLASSES"]) == script.CLASSES
        assert labels.colormap(1)[5][:3] == (0x2B, 0x7F, 0xD0)


def test_committed_scene_is_what_the_script_draws(script):
    """Within rounding: libraries may differ in the last bit of a sine."""
    with rasterio.open(FOLDER / "scene.tif") as scene, rasterio.open(FOLDER / "scene_labels.tif") as labels:
        image, ids = script.make_scene(*scene.shape, script.SCENE_SEED)
        assert (scene.read() != image).mean() < 0.01
        assert (labels.read(1) != ids).mean() < 0.001


def test_tiles_and_their_table_fit(script):
    rows = list(csv.DictReader((FOLDER / "tiles.csv").open()))
    splits = [row["split"] for row in rows]
    assert splits.count("train") >= 24
    assert splits.count("val") >= 8
    seen: dict[str, set[int]] = {"train": set(), "val": set()}
    for row in rows:
        with rasterio.open(FOLDER / row["image"]) as image, rasterio.open(FOLDER / row["label"]) as label:
            assert _same_grid(image, label)
            assert image.count == 4
            ids = set(np.unique(label.read(1)))
            assert ids <= set(range(6))
            seen[row["split"]] |= ids
    assert seen == {"train": set(range(6)), "val": set(range(6))}


def test_sample_data_stays_small():
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(sizes) < 5_000_000
