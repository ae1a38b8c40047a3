"""Instances of a prediction and of a class raster: numbers in polygons and in a raster, the same in each."""

import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.features import rasterize
from scipy import ndimage
from support.executors import Apart
from support.models import echo_model
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import OutputError, SpecError

FORMATS = "gpkg,parquet,fgb,geojson,shp"


@pytest.fixture
def scene(tmp_path, class_values):
    values = class_values(90, 120)
    values[20:30, 40:50] = 99
    return write_raster(tmp_path / "s.tif", values, nodata=99)


def opened(path):
    with rasterio.open(path) as raster:
        return raster.read(1), raster.profile, raster.tags()


def run(scene, folder, **settings):
    return predict(scene, folder, model=echo_model(), preview=False, **{"instances": "class 1,3", **settings})


def test_each_format_and_the_raster_hold_the_same_numbers(tmp_path, scene):
    result = run(scene, tmp_path / "out", format=FORMATS)
    numbers, profile, tags = opened(result.paths["instances"])
    ids, of_classes, _ = opened(result.paths["landcover"])
    assert (profile["dtype"], profile["nodata"]) == ("uint32", 0)
    assert all(profile[name] == of_classes[name] for name in ("crs", "transform", "width", "height"))
    assert tags["GEOSEG_INSTANCES"] == str(result.instances)
    count = sum(ndimage.label(ids == k)[1] for k in (1, 3))
    assert result.instances == numbers.max() == count
    np.testing.assert_array_equal(numbers > 0, np.isin(ids, (1, 3)))
    for kind in ("polygons", "polygons_parquet", "polygons_fgb", "polygons_geojson", "polygons_shp"):
        path = result.paths[kind]
        frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
        frame = frame.rename(columns={"inst_id": "instance_id"})
        counted = frame[frame["instance_id"].notna()]
        assert sorted(counted["instance_id"]) == list(range(1, count + 1)), kind
        assert set(counted["class_id"]) == {1, 3}
        assert set(frame[frame["instance_id"].isna()]["class_id"]) == {0, 2}
        if kind == "polygons":
            pairs = zip(counted.geometry, counted["instance_id"].astype(int), strict=True)
            burnt = rasterize(pairs, ids.shape, transform=profile["transform"], dtype="uint32")
            np.testing.assert_array_equal(burnt, numbers)


def test_windows_and_workers_change_no_byte(tmp_path, scene):
    one = run(scene, tmp_path / "one", tile=32, overlap=0, format="parquet")
    other = run(scene, tmp_path / "other", tile=32, overlap=0, format="parquet", scheduler=Apart())
    whole = run(scene, tmp_path / "whole", tile=128)
    for kind in ("instances", "polygons"):
        assert one.paths[kind].read_bytes() == other.paths[kind].read_bytes()
    np.testing.assert_array_equal(opened(one.paths["instances"])[0], opened(whole.paths["instances"])[0])


def test_a_resumed_run_adds_them(tmp_path, scene):
    plain = predict(scene, tmp_path, model=echo_model(), preview=False)
    assert "instances" not in plain.paths
    added = run(scene, tmp_path, resume=True)
    again = run(scene, tmp_path, resume=True)
    assert again.instances == added.instances > 0
    assert again.forwarded_px == 0
    fresh = run(scene, tmp_path / "fresh")
    assert added.paths["instances"].read_bytes() == fresh.paths["instances"].read_bytes()


def test_a_raster_of_instances_without_polygons(tmp_path, scene):
    result = run(scene, tmp_path / "out", polygons=False, stac=False)
    assert result.polygons is None
    assert opened(result.paths["instances"])[0].max() == result.instances


def test_a_class_raster_gets_the_same_numbers_as_its_prediction(tmp_path, scene):
    made = run(scene, tmp_path / "out")
    again = vectorize(made.paths["landcover"], tmp_path / "again.fgb", instances="class 1,3", check=True)
    assert again.instances == made.instances
    assert again.check.differing_pixels == 0
    assert again.check.is_coverage
    assert again.instances_raster == tmp_path / "again_instances.tif"
    np.testing.assert_array_equal(opened(again.instances_raster)[0], opened(made.paths["instances"])[0])
    assert opened(again.instances_raster)[1]["transform"] == opened(scene)[1]["transform"]


def test_a_part_of_a_raster_lies_where_it_is(tmp_path, scene):
    made = run(scene, tmp_path / "out")
    with rasterio.open(scene) as raster:
        part = raster.window_bounds(((10, 60), (20, 80)))
    found = vectorize(made.paths["landcover"], tmp_path / "p.gpkg", instances="class 1", bbox=part)
    numbers, profile, _ = opened(found.instances_raster)
    ids = opened(made.paths["landcover"])[0][10:60, 20:80]
    np.testing.assert_array_equal(numbers > 0, ids == 1)
    assert rasterio.transform.array_bounds(*numbers.shape, profile["transform"]) == pytest.approx(part)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_are_kept(tmp_path, class_values):
    points = [GroundControlPoint(*p) for p in ((0, 0, 9, 50), (0, 20, 10, 50), (20, 0, 9, 49), (20, 20, 10, 49))]
    profile = {"transform": rasterio.Affine.identity(), "crs": None, "nodata": 255}
    path = write_raster(
        tmp_path / "c.tif", class_values(20, 20), gcps=(points, rasterio.CRS.from_epsg(4326)), **profile
    )
    found = vectorize(path, tmp_path / "p.gpkg", instances="1")
    with rasterio.open(found.instances_raster) as raster:
        assert len(raster.gcps[0]) == 4


def test_regions_that_touch_at_a_corner_are_one_instance(tmp_path):
    path = write_raster(tmp_path / "c.tif", np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.uint8), nodata=255)
    found = vectorize(path, tmp_path / "p.gpkg", instances="1", connectivity=8)
    frame = geopandas.read_file(found.output)
    assert frame["instance_id"].fillna(0).tolist().count(1) == found.instances == 1


def test_simplified_instances_share_their_borders(tmp_path, class_values):
    path = write_raster(tmp_path / "c.tif", class_values(60, 60), nodata=255)
    found = vectorize(path, tmp_path / "p.gpkg", instances="1", simplify="1px", smooth=True, check=True)
    assert found.check.is_coverage


@pytest.mark.parametrize("landscape", ["distance", "confidence"])
def test_pieces_are_features_that_share_their_borders(tmp_path, landscape):
    ids, sure = np.zeros((24, 40), np.uint8), np.full((24, 40), 90, np.uint8)
    ids[2:16, 2:16] = ids[8:22, 16:30] = 1
    sure[:, 15:17] = 50
    path = write_raster(tmp_path / "c.tif", ids, nodata=255)
    write_raster(tmp_path / "sure.tif", sure)
    split = {"instances": "1", "split_instances": landscape, "confidence": tmp_path / "sure.tif"}
    found = vectorize(path, tmp_path / "p.gpkg", check=True, **split)
    frame = geopandas.read_file(found.output)
    assert sorted(frame["instance_id"].dropna()) == [1, 2]
    assert frame["class_id"].value_counts().to_dict() == {1: 2, 0: 1}
    assert found.check.is_coverage
    assert found.check.differing_pixels == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"instances": "roof"}, "instances = 'roof': no such class"),
        ({"instances": "1", "dissolve": True}, "leave one of them out"),
        ({"instances": "1", "split_instances": "confidence"}, "pass its raster, or take distance"),
        ({"split_instances": "distance"}, "name their classes"),
        ({"instances": "1", "split_depth": 2}, "choose distance or confidence"),
        ({"instances": "1", "classes": ["2"]}, "not among the classes that become polygons"),
    ],
)
def test_what_cannot_be_numbered_is_refused(tmp_path, class_values, settings, message):
    path = write_raster(tmp_path / "c.tif", class_values(20, 20), nodata=255)
    with pytest.raises(SpecError, match=message):
        vectorize(path, tmp_path / "p.gpkg", **settings)
    assert not (tmp_path / "p.gpkg").exists()


def test_a_raster_that_exists_is_not_replaced(tmp_path, class_values):
    path = write_raster(tmp_path / "c.tif", class_values(20, 20), nodata=255)
    (tmp_path / "p_instances.tif").touch()
    with pytest.raises(OutputError, match="exists"):
        vectorize(path, tmp_path / "p.gpkg", instances="1")
    assert vectorize(path, tmp_path / "p.gpkg", instances="1", overwrite=True).instances
