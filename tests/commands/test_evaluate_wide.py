"""Class rasters of any type against labels of any type, with the names that stand in either."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.features import shapes
from shapely.geometry import shape
from support.rasters import TRANSFORM, UTM, write_raster

from geoseg.commands.evaluate import evaluate
from geoseg.core.errors import SceneError
from geoseg.raster.legend import Legend, class_tags
from geoseg.raster.legends.attribute_table import ATTRIBUTE_TABLE
from geoseg.raster.legends.clr import CLR
from geoseg.spec import ClassSpec

TRUE = np.kron([[111, 523, 311], [311, 111, 112]], np.ones((12, 8))).astype(np.int32)
PREDICTED = TRUE.copy()
PREDICTED[:12, :8] = 112
NAMES = {111: "Urban", 112: "Suburb", 311: "Forest", 523: "Sea"}
GREY = dict.fromkeys(NAMES, "#808080")

SCORES = pytest.approx({"Urban": 0.5, "Suburb": 0.5, "Forest": 1, "Sea": 1})


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_raster(tmp_path / "p.tif", PREDICTED.astype(np.float32)), write_raster(tmp_path / "l.tif", TRUE)


def test_codes_are_classes(files):
    scores = evaluate(*files).scores
    assert scores.by_class["iou"] == pytest.approx({"class 111": 0.5, "class 112": 0.5, "class 311": 1, "class 523": 1})
    assert scores.pixels == TRUE.size


@pytest.mark.parametrize("named", [0, 1])
def test_names_stand_in_the_prediction_or_in_the_labels(files, named):
    ATTRIBUTE_TABLE.example(files[named], Legend(NAMES, GREY))
    assert evaluate(*files).scores.by_class["iou"] == pytest.approx(
        {"Urban": 0.5, "Suburb": 0.5, "Forest": 1, "Sea": 1}
    )


def test_names_that_both_have_match_whatever_the_numbers(tmp_path, files):
    numbers = {111: 4, 112: 3, 311: 2, 523: 1}
    labels = write_raster(tmp_path / "small.tif", np.vectorize(numbers.get)(TRUE).astype(np.uint8))
    CLR.example(labels, Legend({numbers[k]: name for k, name in NAMES.items()}, {numbers[k]: GREY[k] for k in NAMES}))
    ATTRIBUTE_TABLE.example(files[0], Legend(NAMES, GREY))
    scores = evaluate(files[0], labels).scores
    assert scores.by_class["iou"] == SCORES


def test_names_that_differ_are_said(files):
    CLR.example(files[0], Legend(NAMES, GREY))
    CLR.example(files[1], Legend(NAMES | {311: "Wald"}, GREY))
    result = evaluate(*files)
    assert result.scores.by_class["iou"]["Forest"] == 1
    assert f"311 is called Forest in the prediction and Wald in {files[1]}" in result.notices[0]


def test_polygons_with_names_are_held_against_named_codes(tmp_path, files):
    CLR.example(files[0], Legend(NAMES, GREY))
    found = [(shape(s), NAMES[int(k)]) for s, k in shapes(TRUE, transform=TRANSFORM)]
    frame = geopandas.GeoDataFrame({"kind": [k for _, k in found]}, geometry=[s for s, _ in found], crs=UTM)
    frame.to_file(tmp_path / "l.gpkg")
    assert evaluate(files[0], tmp_path / "l.gpkg").scores.by_class["iou"]["Sea"] == 1


def test_a_legend_file_names_the_classes(tmp_path, files):
    legend = CLR.example(tmp_path / "other.tif", Legend(NAMES, GREY))
    assert list(evaluate(*files, legend=legend).scores.by_class["iou"]) == ["Urban", "Suburb", "Forest", "Sea"]


def test_what_a_model_of_codes_predicted_is_held_against_codes(tmp_path):
    classes = [ClassSpec(id=i, name=n, color="#000000", code=k) for i, (k, n) in enumerate(NAMES.items())]
    ids = {c.code: c.id for c in classes}
    prediction = write_raster(tmp_path / "p.tif", np.vectorize(ids.get)(PREDICTED).astype(np.uint8), nodata=255)
    with rasterio.open(prediction, "r+") as dataset:
        dataset.update_tags(**class_tags(classes))
    labels = write_raster(tmp_path / "l.tif", TRUE)
    assert evaluate(prediction, labels).scores.by_class["iou"] == SCORES
    assert evaluate(prediction, prediction).scores.miou == 1


def test_segments_are_refused(tmp_path, files):
    segments = write_raster(tmp_path / "s.tif", np.arange(TRUE.size, dtype=np.int32).reshape(TRUE.shape))
    with pytest.raises(SceneError, match=r"hold \d+ different values, and up to 254 classes are compared"):
        evaluate(segments, files[1])
