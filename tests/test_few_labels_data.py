"""Weak labels that benchmarks draw from full masks: few pixels, each of its true class, away from borders."""

import csv
import importlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.ndimage import distance_transform_edt, label

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def weak():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield importlib.import_module("few_labels_data")


@pytest.fixture(scope="module")
def mask():
    with rasterio.open(ROOT / "sample_data" / "scene_labels.tif") as dataset:
        return dataset.read(1)[300:500, 400:640]


@pytest.mark.parametrize("kind", ["points", "scribbles"])
def test_marks_are_few_right_and_inside_and_no_class_lacks_one(weak, mask, kind):
    found = getattr(weak, kind)(mask, np.random.default_rng(0), 0.01)
    marked = found != 255
    assert 0.005 < marked.mean() <= 0.01
    np.testing.assert_array_equal(found[marked], mask[marked])
    assert set(np.unique(mask).tolist()) <= set(np.unique(found).tolist()) | {255}
    depth = np.max([distance_transform_edt(mask == index) for index in np.unique(mask)], axis=0)
    assert np.median(depth[marked]) > np.median(depth)
    np.testing.assert_array_equal(found, getattr(weak, kind)(mask, np.random.default_rng(0), 0.01))


def test_a_scribble_is_long_and_one_piece(weak):
    region = np.zeros((80, 200), np.uint8)
    region[30:50, 20:180] = 1
    found = weak.scribbles(region, np.random.default_rng(1), 0.02)
    pieces = label(found == 1, np.ones((3, 3)))[0]
    rows, cols = np.nonzero(pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]))
    assert np.ptp(cols) > 12
    assert np.ptp(rows) < 12  # along the middle


def test_coarse_labels_are_those_of_most_pixels_and_unknown_ones_have_no_vote(weak):
    labels = np.uint8([[0, 0, 2, 2, 1], [0, 1, 255, 255, 255], [1, 1, 255, 255, 255]])
    found = weak.coarse(labels, 2, 3)
    np.testing.assert_array_equal(found, [[0, 0, 2, 2, 1], [0, 0, 2, 2, 1], [1, 1, 255, 255, 255]])


def test_a_set_of_tiles_keeps_its_images_and_the_masks_by_which_it_is_scored(weak, tmp_path):
    given = ROOT / "sample_data" / "tiles.csv"
    with given.open() as file:
        before = list(csv.DictReader(file))[:4] + list(csv.DictReader(given.open()))[-1:]
    small = tmp_path / "small.csv"
    with small.open("w", newline="") as file:
        table = csv.DictWriter(file, ["image", "label", "split"])
        table.writeheader()
        for row in before:
            table.writerow(row | {name: str(given.parent / row[name]) for name in ("image", "label")})
    path = weak.from_masks(small, tmp_path / "out", "points")
    with path.open() as file:
        after = list(csv.DictReader(file))
    for row, old in zip(after, before, strict=True):
        assert Path(row["image"]) == (given.parent / old["image"]).resolve()
        with rasterio.open(row["label"]) as new, rasterio.open(given.parent / old["label"]) as full:
            assert (new.transform, new.shape) == (full.transform, full.shape)
            is_weak = (new.read(1) == 255).mean() > 0.9
        assert is_weak == (old["split"] == "train")
