"""A split by polygon: each goes to one side, and training windows see nothing of the other."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.transform import from_origin
from scipy.ndimage import distance_transform_cdt
from support.rasters import write_raster
from support.reporters import Watching

from geoseg.core.errors import LabelError, SpecError
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, TrainSpec, parse_spec
from geoseg.training.data.training_data import TrainingData, read_training_data

SIDE = 200
PLACE = from_origin(500_000, 5_000_000, 10, 10)


def box(row: int, col: int, height: int = 8, width: int = 8) -> shapely.Polygon:
    """A rectangle of pixels on the ground."""
    (left, top), (right, bottom) = PLACE @ (col, row), PLACE @ (col + width, row + height)
    return shapely.box(left, bottom, right, top)


BOXES = {
    "field": [(10, 10), (10, 22), (60, 60), (100, 20), (150, 150)],
    "wood": [(10, 34), (80, 150)],
    "lake": [(180, 5)],
}
EVERYTHING = Window(0, 0, SIDE, SIDE)


def write(folder: Path, *, crs: str = "EPSG:32631", images: int = 1) -> dict[str, Any]:
    """Write images of random values and the polygons; give the scenes of a config."""
    rng = np.random.default_rng(0)
    shapes = [(name, box(*corner)) for name, corners in BOXES.items() for corner in corners]
    polygons = gpd.GeoDataFrame(
        {"class": [name for name, _ in shapes]}, geometry=[s for _, s in shapes], crs="EPSG:32631"
    )
    polygons.to_crs(crs).to_file(folder / "polygons.gpkg")
    for number in range(images):
        values = rng.integers(1, 255, (3, SIDE, SIDE), np.uint8)
        write_raster(folder / f"image_{number}.tif", values, crs="EPSG:32631", transform=PLACE)
    return {"scenes": [{"image": folder / f"image_{n}.tif", "label": folder / "polygons.gpkg"} for n in range(images)]}


def read(data: dict[str, Any], notices: list[str] | None = None, **split: Any) -> TrainingData:
    config = {
        "name": "few",
        "data": {"bands": ["red", "green", "blue"], "split": {"by": "polygons"} | split} | data,
        "classes": [{"id": i, "name": name, "color": "#000000"} for i, name in enumerate(BOXES)],
        "network": {"architecture": "pointwise"},
        "window": 64,
    }
    spec = parse_spec(TrainSpec, config, source="test")
    return read_training_data(spec, reporter=Watching(lines=notices))


def labels(side: Any) -> np.ndarray:
    """Class indexes of the first raster of a side (H, W)."""
    found: np.ndarray = side.rasters[0].read_labels(EVERYTHING)
    return found


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:4326"])
def test_each_polygon_goes_to_one_side_with_a_guard_between(tmp_path: Path, crs: str) -> None:
    notices: list[str] = []
    found = read(write(tmp_path, crs=crs), notices)
    train, val = labels(found.train) != IGNORE, labels(found.val) != IGNORE
    assert not (train & val).any()
    distance = distance_transform_cdt(~val, "chessboard")
    assert distance[train].min() > 3
    for name, corners in BOXES.items():
        sides = [
            (bool(train[r + 1 : r + 7, c + 1 : c + 7].any()), bool(val[r + 1 : r + 7, c + 1 : c + 7].any()))
            for r, c in corners
        ]
        assert all(a != b for a, b in sides), "a polygon is on one side"
        assert sum(b for _, b in sides) == (len(corners) > 1), name
    assert (found.train.polygons, found.val.polygons) == (6, 2)
    assert found.val.amount == "2 polygons, 128 px"
    assert "split by polygons: 6 polygons (384 px) for training, 2 polygons (128 px) for validation" in notices[0]
    assert "no validation pixel shows class 2 lake" in notices[-1]


def test_polygons_of_the_test_side_are_in_no_fold_and_hidden_from_training(tmp_path: Path) -> None:
    data, notices = write(tmp_path), []
    found = read(data, notices, test_share=0.2)
    train, val, test = (labels(found.side(side)) != IGNORE for side in ("train", "val", "test"))
    assert not (train & val).any()
    assert not (test & (train | val)).any()
    assert int(test.sum()) == 64, "of the fields, which are five, one; of two and one of the others none"
    assert distance_transform_cdt(~test, "chessboard")[train].min() > 3
    _, valid = found.train.rasters[0].read(EVERYTHING)
    assert not valid[test].any()
    assert found.val.rasters[0].read(EVERYTHING)[1].all(), "what is scored is shown as in a prediction"
    assert "2 polygons (128 px) for validation, 1 polygon (64 px) for the test, at least 3 px apart" in notices[0]
    assert "no test pixel shows class 1 wood, 2 lake" in notices[-1]
    for fold in (1, 2, 3):
        other = read(data, test_share=0.2, folds=3, fold=fold)
        assert np.array_equal(labels(other.side("test")) != IGNORE, test)


def test_images_given_as_test_are_hidden_from_training_polygons_around_them(tmp_path: Path) -> None:
    data = write(tmp_path)
    values = np.ones((3, 40, 40), np.uint8)
    write_raster(tmp_path / "test.tif", values, crs="EPSG:32631", transform=PLACE @ Affine.translation(0, 0))
    given = {"image": tmp_path / "test.tif", "label": tmp_path / "polygons.gpkg", "split": "test"}
    found = read({"scenes": [*data["scenes"], given]})
    train, val = (labels(found.side(side)) != IGNORE for side in ("train", "val"))
    assert not train[:43, :43].any()
    assert not val[:40, :40].any()
    (raster,) = found.train.rasters
    assert not raster.read(EVERYTHING)[1][:40, :40].any()
    assert found.side("test").polygons is None
    assert int(found.side("test").class_counts.sum()) > 0


def test_training_windows_show_nothing_of_validation_polygons(tmp_path: Path) -> None:
    found = read(write(tmp_path))
    (raster,) = found.train.rasters
    _, valid = raster.read(EVERYTHING)
    val = labels(found.val) != IGNORE
    assert not valid[val].any()
    assert (distance_transform_cdt(~val, "chessboard")[~valid] <= 3).all(), "no more is hidden than the guard band"
    assert not raster.open_part().read(EVERYTHING)[1][val].any()
    assert raster.open_part().read(EVERYTHING)[1].mean() > 0.9, "views see the rest"
    assert found.val.rasters[0].read(EVERYTHING)[1].all(), "what is scored is shown as in a prediction"
    with rasterio.open(tmp_path / "image_0.tif") as image:
        learnt = image.read()[:, labels(found.train) != IGNORE]
    assert found.normalization.mean == pytest.approx(learnt.mean(axis=1), rel=1e-4)


def test_a_polygon_goes_to_one_side_in_all_images_that_show_it(tmp_path: Path) -> None:
    data = write(tmp_path, images=3)
    found = read(data | {"memory_mb": 0})
    assert found.val.polygons == 2
    assert int(found.val.class_counts.sum()) == 3 * 128
    for mosaic in found.train.rasters:
        for member in mosaic.rasters:
            assert not ((member.read_labels(EVERYTHING) != IGNORE) & (labels(found.val) != IGNORE)).any()


def test_folds_validate_every_polygon_once_but_single_ones(tmp_path: Path) -> None:
    data = write(tmp_path)
    seen = np.zeros((SIDE, SIDE), int)
    for fold in range(1, 6):
        found = read(data, folds=5, fold=fold)
        seen += labels(found.val) != IGNORE
        assert (found.train.class_counts > 0).all(), "each fold learns every class"
    assert seen.max() == 1
    assert int(seen.sum()) == 7 * 64


def test_auto_takes_polygons_where_blocks_cannot_be_split(tmp_path: Path) -> None:
    assert read(write(tmp_path), by="auto").val.polygons == 2


def test_where_the_usual_guard_closes_a_class_the_smallest_is_taken_and_validation_is_hidden(tmp_path: Path) -> None:
    notices: list[str] = []
    found = read(write(tmp_path), notices, by="blocks", block_px=64, val_share=0.3, seed=4)
    assert any("it has 3 px, and training windows are shown nothing of the validation areas" in one for one in notices)
    val = labels(found.val) != IGNORE
    assert not found.train.rasters[0].read(EVERYTHING)[1][val].any()


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"folds": 5}, "data.split.folds = 5: say which of them validates, 1 to 5, in data.split.fold"),
        ({"folds": 2, "fold": 3}, "fold 3 is none of 2 folds"),
        ({"by": "none", "folds": 3}, "folds do not go with by: none"),
    ],
)
def test_folds_that_cannot_be(tmp_path: Path, split: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read(write(tmp_path), **split)


def test_rasters_of_labels_have_no_polygons(tmp_path: Path) -> None:
    data = write(tmp_path)
    write_raster(tmp_path / "labels.tif", np.zeros((1, SIDE, SIDE), np.uint8), crs="EPSG:32631", transform=PLACE)
    data["scenes"][0]["label"] = tmp_path / "labels.tif"
    with pytest.raises(LabelError, match=r"data.split.by is polygons, and .*labels.tif holds none: split by blocks"):
        read(data)
