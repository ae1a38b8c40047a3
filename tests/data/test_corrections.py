"""Corrections: polygons over labels give their pixels another class, or none, and it is said how many."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from support.labelled_tiles import write_config, write_tiles
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.commands.evaluate import evaluate
from geoseg.core.errors import LabelError
from geoseg.core.naming import shown_names
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec, load_train_spec
from geoseg.training.data.stored_statistics import fingerprint
from geoseg.training.data.training_data import read_training_data
from geoseg.training.run.provenance import without_folders
from geoseg.training.run.settings import resolve_settings

CLASSES = (ClassSpec(id=7, name="grass", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff"))
GRID = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))
DOUBT, WATER = (slice(2, 7), slice(3, 9)), (slice(10, 15), slice(12, 20))
"""Rows and columns that are to be ignored, and that are to be water."""
EXPECTED = np.zeros((20, 30), np.uint8)
EXPECTED[DOUBT], EXPECTED[WATER] = IGNORE, 1


def box(place: tuple[slice, slice], transform: Affine = TRANSFORM) -> shapely.Geometry:
    """The outline of some pixels, in coordinates."""
    (left, top), (right, bottom) = (
        transform @ (place[1].start, place[0].start),
        transform @ (place[1].stop, place[0].stop),
    )
    return shapely.box(left, min(top, bottom), right, max(top, bottom))


def write(path: Path, crs: Any = UTM, **columns: Any) -> Path:
    """Write the two polygons."""
    frame = geopandas.GeoDataFrame(columns, geometry=[box(DOUBT), box(WATER)], crs=UTM).to_crs(crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def read(
    folder: Path, *corrections: Path, grid: PixelGrid = GRID, image: str = "image.tif", window: Window | None = None
):
    placed = {} if grid.crs is None else {"crs": UTM, "transform": TRANSFORM}
    label = write_raster(folder / "labels.tif", np.full((20, 30), 7, np.uint8), **placed)
    source = LabelSource(label, grid, CLASSES, Path(image), LabelRules(corrections=corrections))
    with open_labels(source) as labels:
        return labels.read(window or Window(0, 0, 20, 30))


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "shp", "parquet"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_an_empty_correction_ignores_pixels_and_a_class_changes_them_in_any_format_and_system(tmp_path, ending, crs):
    path = write(tmp_path / f"suspects.{ending}", crs, label=["grass", "grass"], correction=[None, "water"])
    np.testing.assert_array_equal(read(tmp_path, path), EXPECTED)
    np.testing.assert_array_equal(read(tmp_path, path, window=Window(5, 4, 9, 12)), EXPECTED[5:14, 4:16])


def test_polygons_without_the_column_are_ignored_and_ids_and_the_word_ignore_will_do(tmp_path):
    ignored = read(tmp_path, write(tmp_path / "doubt.gpkg", reason=["hay", "shadow"]))
    assert ((ignored == IGNORE) == (EXPECTED != 0)).all()
    np.testing.assert_array_equal(read(tmp_path, write(tmp_path / "ids.gpkg", Correction=["ignore", "2"])), EXPECTED)


def test_of_several_files_the_last_counts(tmp_path):
    first, second = (
        write(tmp_path / "a.gpkg", correction=["water", None]),
        write(tmp_path / "b.gpkg", correction=["", "2"]),
    )
    np.testing.assert_array_equal(read(tmp_path, first, second), EXPECTED)


def test_a_layer_is_named_as_qgis_names_it(tmp_path):
    path = tmp_path / "both.gpkg"
    for layer in ("old", "new"):
        frame = geopandas.GeoDataFrame({"correction": ["", "water"]}, geometry=[box(DOUBT), box(WATER)], crs=UTM)
        frame.to_file(path, layer=layer)
    np.testing.assert_array_equal(read(tmp_path, Path(f"{path}|layername=new")), EXPECTED)
    with pytest.raises(LabelError, match="layers old, new: name one"):
        read(tmp_path, path)


def test_in_images_without_coordinates_polygons_are_in_pixels_of_the_image_that_they_name(tmp_path):
    plain = PixelGrid(20, 30, Affine.identity(), None)
    boxes = [box(place, plain.transform) for place in (DOUBT, WATER, WATER)]
    frame = geopandas.GeoDataFrame(
        {"image": ["a.tif", "a.tif", "b.tif"], "correction": [None, "water", None]}, geometry=boxes
    )
    frame.to_file(tmp_path / "pixels.gpkg")
    np.testing.assert_array_equal(read(tmp_path, tmp_path / "pixels.gpkg", grid=plain, image="x/a.tif"), EXPECTED)
    other = read(tmp_path, tmp_path / "pixels.gpkg", grid=plain, image="b.tif")
    assert ((other == IGNORE) == (EXPECTED == 1)).all()
    frame.drop(columns="image").to_file(tmp_path / "nameless.gpkg")
    with pytest.raises(LabelError, match="no column image"):
        read(tmp_path, tmp_path / "nameless.gpkg", grid=plain)
    with pytest.raises(LabelError, match="do not say in which coordinate system"):
        read(tmp_path, tmp_path / "pixels.gpkg")


def test_images_of_one_name_are_told_apart_by_their_folders(tmp_path):
    plain = PixelGrid(20, 30, Affine.identity(), None)
    frame = geopandas.GeoDataFrame(
        {"image": ["x/a.tif"], "correction": ["water"]}, geometry=[box(WATER, plain.transform)]
    )
    frame.to_file(tmp_path / "pixels.gpkg")
    here, other = (
        read(tmp_path, tmp_path / "pixels.gpkg", grid=plain, image=f"{folder}/a.tif") for folder in ("data/x", "data/y")
    )
    assert (here != other).any()
    assert shown_names([Path("data/x/a.tif"), Path("data/y/a.tif"), Path("b.tif")]) == ["x/a.tif", "y/a.tif", "b.tif"]
    assert shown_names([Path("1/x/a.tif"), Path("2/x/a.tif"), Path("2/y/a.tif")]) == [
        "1/x/a.tif",
        "2/x/a.tif",
        "y/a.tif",
    ]


def test_a_bare_name_of_two_images_without_coordinates_is_an_error(tmp_path):
    config = write_config(tmp_path)
    rows = ["image,label,split"]
    for folder, split in (("one", "train"), ("two", "val")):
        (tmp_path / folder).mkdir()
        write_raster(
            tmp_path / folder / "a.tif", np.full((3, 32, 32), 9, np.uint8), crs=None, transform=Affine.identity()
        )
        write_raster(
            tmp_path / folder / "m.tif", np.full((32, 32), (3, 9) * 16, np.uint8), crs=None, transform=Affine.identity()
        )
        rows.append(f"{folder}/a.tif,{folder}/m.tif,{split}")
    (tmp_path / "same.csv").write_text("\n".join(rows))
    frame = geopandas.GeoDataFrame({"image": ["a.tif"], "correction": [None]}, geometry=[shapely.box(2, 2, 9, 9)])
    frame.to_file(tmp_path / "pixels.gpkg")
    spec = resolve_settings(config, tmp_path / "same.csv", {})
    data = spec.data.model_copy(update={"corrections": (tmp_path / "pixels.gpkg",)})
    with pytest.raises(LabelError, match="on two images without coordinates"):
        read_training_data(spec.model_copy(update={"data": data}))


def test_mistakes_in_corrections_are_one_line(tmp_path):
    with pytest.raises(LabelError, match="'lava' is no class: give one of 7 grass, 2 water, or leave it empty"):
        read(tmp_path, write(tmp_path / "lava.gpkg", correction=["lava", ""]))
    with pytest.raises(LabelError, match=r"cannot read corrections .*missing.gpkg"):
        read(tmp_path, tmp_path / "missing.gpkg")
    points = geopandas.GeoDataFrame(geometry=[box(DOUBT).centroid], crs=UTM)
    points.to_file(tmp_path / "points.gpkg")
    with pytest.raises(LabelError, match="it holds Point: corrections are polygons"):
        read(tmp_path, tmp_path / "points.gpkg")


def tiles_with_doubt(folder: Path) -> tuple[Path, Path]:
    """A config whose val tile has 40 pixels of grass that are ignored and 20 that are water; and the corrections."""
    write_tiles(folder)
    with rasterio.open(folder / "val.tif") as image:
        transform, crs = image.transform, image.crs
    shapes = [box((slice(0, 10), slice(0, 4)), transform), box((slice(20, 25), slice(0, 4)), transform)]
    frame = geopandas.GeoDataFrame({"correction": [None, "water"]}, geometry=shapes, crs=crs)
    frame.to_file(folder / "doubt.gpkg")
    data = {"tiles": "tiles.csv", "bands": ["red", "green", "blue"], "corrections": "doubt.gpkg"}
    return write_config(folder, data=data), folder / "doubt.gpkg"


def test_training_and_scoring_read_corrected_labels_and_say_how_many_pixels(tmp_path, monkeypatch):
    config, corrections = tiles_with_doubt(tmp_path)
    monkeypatch.chdir("/")
    spec, reporter = resolve_settings(config, None, {}), Heard()
    read = read_training_data(spec, reporter=reporter)
    assert read.val.class_counts.tolist() == [24 * 40 - 60, 24 * 40 + 20]
    assert read.train.class_counts.tolist() == [24 * 40, 24 * 40]
    assert f"{corrections}: 40 px count as not labelled, 20 px get another class" in reporter.lines
    assert without_folders(spec.data).corrections == (Path("doubt.gpkg"),)
    changed = fingerprint((), spec)
    geopandas.read_file(corrections).head(1).to_file(corrections)
    assert fingerprint((), spec) != changed


def test_corrections_of_other_images_are_said_to_change_nothing(tmp_path):
    config, _ = tiles_with_doubt(tmp_path)
    far = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:32631")
    far.to_file(tmp_path / "doubt.gpkg")
    reporter = Heard()
    read_training_data(load_train_spec(config), reporter=reporter)
    assert any("no label is changed by these corrections" in line for line in reporter.lines)


def test_a_prediction_is_compared_with_corrected_labels(tmp_path):
    profile = {"crs": UTM, "transform": TRANSFORM}
    truth = np.where(EXPECTED == 1, 2, 7).astype(np.uint8)
    prediction = write_raster(tmp_path / "map.tif", truth, **profile)
    labels = write_raster(tmp_path / "labels.tif", np.full((20, 30), 7, np.uint8), **profile)
    path = write(tmp_path / "suspects.gpkg", correction=["", "2"])
    assert evaluate(prediction, labels).scores.overall["pixel_accuracy"] < 1
    found = evaluate(prediction, labels, corrections=path)
    assert found.scores.overall["pixel_accuracy"] == 1
    assert found.scores.pixels == 600 - 30
    assert f"{path}: 30 px count as not labelled, 40 px get another class" in found.notices
