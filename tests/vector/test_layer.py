"""Layers of polygons: where they lie, how they are grouped, what their attributes say."""

import numpy as np
import pyarrow as pa
import pytest
import shapely
from affine import Affine
from pyproj import CRS
from support.polygons import frame_of
from support.rasters import UTM_DENSITY

from geoseg.raster.legend import Legend
from geoseg.raster.strips import Strip
from geoseg.vector.layer import PolygonLayer, by_class, by_touch
from geoseg.vector.trace import Regions, trace

NODATA = 255
NORTH_UP = Affine(10, 0, 500_000, 0, -10, 4_000_000)


def traced(ids, confidence=None) -> Regions:
    ids = np.asarray(ids, np.uint8)
    weights = None if confidence is None else np.asarray(confidence, np.uint8)
    return trace([Strip(0, ids, weights)], ids.shape[1], NODATA)


def grouped(regions, how) -> PolygonLayer:
    ordered, features = how(regions)
    return PolygonLayer(ordered, NORTH_UP, "EPSG:32617", features=features)


@pytest.mark.parametrize(
    "transform",
    [Affine(2, 0, 100, 0, -3, 50), Affine(2, 0, 100, 0, 3, 50), Affine(1.6, 1.8, 100, 1.2, -2.4, 50)],
    ids=["north-up", "south-up", "rotated"],
)
def test_polygons_through_a_transform(transform):
    regions = traced([[0, 0, 1], [0, 2, 1], [NODATA, 0, 0]])
    polygons = frame_of(PolygonLayer(regions, transform, None)).geometry.to_numpy()
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    assert shapely.coverage_is_valid(polygons)
    np.testing.assert_allclose(shapely.area(polygons), regions.pixels * 6)


def test_batches_are_the_whole(monkeypatch):
    layer = PolygonLayer(traced(np.indices((20, 20)).sum(axis=0) % 2), NORTH_UP, "EPSG:32617")
    whole = frame_of(layer)
    monkeypatch.setattr("geoseg.vector.layer.BATCH", 7)
    batches = list(layer.batches())
    assert len(batches) > 50
    assert pa.Table.from_batches(batches, layer.schema).num_rows == len(layer) == 400
    assert shapely.equals_identical(frame_of(layer).geometry.values, whole.geometry.values).all()


def test_one_feature_for_each_class():
    regions = traced([[0, 1, 0], [2, 1, 0], [0, 1, NODATA]], confidence=[[10, 50, 40], [70, 50, 40], [90, 50, 0]])
    frame = frame_of(grouped(regions, by_class))
    assert frame["class_id"].tolist() == [0, 1, 2]
    assert (frame["area_m2"] / UTM_DENSITY).tolist() == pytest.approx([400, 300, 100])
    assert (frame["perimeter_m"] * 0.9996).tolist() == pytest.approx([140, 80, 40])
    assert frame["confidence"].tolist() == pytest.approx([0.45, 0.5, 0.7])
    assert (frame.geom_type == "MultiPolygon").all()
    assert frame.is_valid.all()
    assert [len(geometry.geoms) for geometry in frame.geometry] == [3, 1, 1]


def test_regions_that_touch_at_a_corner_are_one_feature():
    frame = frame_of(grouped(traced([[0, 1, 0], [1, 0, 1], [1, 1, 0]]), by_touch))
    parts = sorted((k, len(geometry.geoms)) for k, geometry in zip(frame["class_id"], frame.geometry, strict=True))
    assert parts == [(0, 4), (1, 3)]


def test_another_coordinate_system():
    layer = PolygonLayer(traced([[0, 1]]), NORTH_UP, "EPSG:32617")
    moved = PolygonLayer(traced([[0, 1]]), NORTH_UP, "EPSG:32617", target=CRS(4326))
    there = frame_of(layer).to_crs(4326)
    assert frame_of(moved).crs.to_epsg() == 4326
    assert shapely.equals_exact(frame_of(moved).geometry.values, there.geometry.values, 1e-12).all()
    assert frame_of(moved)["area_m2"].tolist() == pytest.approx([100 * UTM_DENSITY] * 2)


def test_no_polygon():
    layer = PolygonLayer(traced([[NODATA]]), NORTH_UP, "EPSG:32617", Legend({0: "a"}, {0: "#ffffff"}))
    assert list(layer.batches()) == []
    assert list(frame_of(layer).columns) == ["class_id", "class", "area_m2", "perimeter_m", "color", "geometry"]


def test_areas_where_the_coordinate_system_does_not_tell_are_null():
    frame = frame_of(PolygonLayer(traced([[0, 1]]), NORTH_UP, None))
    assert frame[["area_m2", "perimeter_m"]].isna().all(axis=None)
