"""Whatever stands in a file of polygons, geoseg reads it or says in a line why not."""

import json
from pathlib import Path

import geopandas
import pytest
from fuzzing import CORPUS, LONG_S, ODD_VALUES, as_json, changed, edited, fuzz, seeds
from rasterio.crs import CRS
from support.models import class_specs
from support.rasters import TRANSFORM, UTM

from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.aoi import find_area
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window

GRID = PixelGrid(24, 32, TRANSFORM, CRS.from_string(UTM))
ODD = (
    *ODD_VALUES, [300005.0, 4299990.0], [float("inf"), 0], [[1e308, -1e308]], [None, None], [[300001, 4299990]] * 2,
    {"type": "Point", "coordinates": [0, 0]}, {"type": "GeometryCollection", "geometries": []},
    {"type": "Polygon", "coordinates": []}, {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::99999"}},
)  # fmt: skip
SECONDS = pytest.mark.parametrize("seconds", [None, pytest.param(LONG_S, marks=pytest.mark.slow)])


def read_area(path: Path) -> None:
    area = find_area(GRID, path, None, "the scene")
    assert area is not None
    area.mask(Window(0, 0, 24, 32))


def read_labels(path: Path) -> None:
    source = LabelSource(path, GRID, tuple(class_specs(4)), Path("image.tif"), LabelRules(column="class"))
    with open_labels(source) as labels:
        labels.read(Window(0, 0, 24, 32))


READERS = pytest.mark.parametrize("read", [read_area, read_labels])


@SECONDS
@READERS
def test_geojson(read, seconds):
    trees = [json.loads(content) for content in seeds("labels.geojson", "labels_utm.geojson")]
    fuzz(read, as_json(changed(trees, ODD)), ".geojson", seconds)


@SECONDS
@READERS
def test_flatgeobuf(read, seconds):
    fuzz(read, edited(seeds("labels.fgb")), ".fgb", seconds)


@pytest.fixture(scope="module")
def geopackage(tmp_path_factory):
    """The labels as a GeoPackage, which is too large to be kept."""
    path = tmp_path_factory.mktemp("seed") / "labels.gpkg"
    geopandas.read_file(CORPUS / "labels_utm.geojson").to_file(path, layer="labels")
    return path.read_bytes()


@SECONDS
@READERS
def test_geopackage(read, seconds, geopackage):
    fuzz(read, edited([geopackage], most=40), ".gpkg", seconds)


@SECONDS
def test_parquet(seconds):
    fuzz(read_labels, edited(seeds("labels.parquet")), ".parquet", seconds)
