"""Every format written and read back; nothing left behind when writing fails."""

import json
import re
import sqlite3
import subprocess
import sys
from dataclasses import replace

import geopandas
import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import shapely
from affine import Affine
from support.polygons import frame_of
from support.rasters import UTM_DENSITY

import geoseg.vector.write
from geoseg.core.errors import OutputError
from geoseg.raster.legend import Legend
from geoseg.raster.strips import Strip
from geoseg.vector.formats import FORMATS, VectorFormat, check_extension, ogr, shapefile
from geoseg.vector.layer import PolygonLayer
from geoseg.vector.trace import trace
from geoseg.vector.write import write_polygons

UTM = "EPSG:32617"
LOCAL = 'LOCAL_CS["unnamed",UNIT["metre",1]]'
MARS = "+proj=eqc +a=3396190 +b=3396190 +units=m +type=crs"
FIELDS = ["class_id", "class", "area_m2", "perimeter_m", "confidence"]


def layer_of(ids, crs=UTM) -> PolygonLayer:
    ids = np.array(ids, np.uint8)
    regions = trace([Strip(0, ids, np.full_like(ids, 80))], ids.shape[1])
    legend = Legend({0: "Wald", 1: "Gewässer"})
    return PolygonLayer(regions, Affine(10, 0, 500_000, 0, -10, 4_000_000), crs, legend)


@pytest.fixture
def layer() -> PolygonLayer:
    return layer_of([[0, 0, 0, 2], [0, 1, 0, 2], [0, 0, 0, 255]])


@pytest.fixture
def empty() -> PolygonLayer:
    return layer_of([[255]])


def fields(extension) -> list[str]:
    return [shapefile.NAMES.get(name, name) if extension == ".shp" else name for name in FIELDS]


def written(columns, extension) -> list[str]:
    """The layer's columns among those of a file; a format may add some of its own."""
    return [name for name in columns if name in (*fields(extension), "geometry")]


def read(path) -> geopandas.GeoDataFrame:
    frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    return frame.sort_values("class_id", ignore_index=True)


@pytest.mark.parametrize("extension", FORMATS.names)
def test_written_and_read_back(tmp_path, layer, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    back, frame = read(path), frame_of(layer).sort_values("class_id", ignore_index=True)
    assert written(back.columns, extension) == [*fields(extension), "geometry"]
    assert back["class_id"].tolist() == [0, 1, 2]
    assert back["class"].tolist() == ["Wald", "Gewässer", "2"]
    assert (back["area_m2"] / UTM_DENSITY).tolist() == pytest.approx([800, 100, 200])
    assert back["confidence"].tolist() == [0.8] * 3
    assert (back.geom_type == "Polygon").all()
    same = shapely.equals(back.to_crs(UTM).geometry.values, frame.geometry.values)
    assert same.all() or FORMATS.get(extension).in_degrees
    np.testing.assert_allclose(back.to_crs(UTM).area, frame.area, rtol=1e-4)


WITHOUT_A_PLACE = {".shp"}
"""Formats that have no place for a text on the layer."""


@pytest.mark.parametrize("extension", sorted(set(FORMATS.names) - WITHOUT_A_PLACE))
def test_notices_stand_in_the_file(tmp_path, layer, extension):
    path, notices = tmp_path / f"out{extension}", ("poor classes: „schwach“", "a second one")
    write_polygons(replace(layer, notices=notices), path)
    assert len(read(path)) == len(layer)
    for line in notices:
        assert any(line.encode() in text for text in texts_of(path))


def texts_of(path):
    """The content of a file, and the values of its metadata, as bytes."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        notices = json.loads(pyarrow.parquet.read_schema(path).metadata[b"GEOSEG_NOTICES"])
        yield "\n".join(notices).encode()
    else:
        yield str(pyogrio.read_info(path)["dataset_metadata"]).encode()


def test_a_geopackage_describes_its_table_and_has_metadata(tmp_path, layer):
    path = tmp_path / "out.gpkg"
    write_polygons(replace(layer, notices=("poor classes",)), path)
    with sqlite3.connect(path) as base:
        assert base.execute("SELECT description FROM gpkg_contents").fetchone() == ("poor classes",)
    assert pyogrio.read_info(path)["layer_metadata"]["GEOSEG_NOTICES"] == '["poor classes"]'


@pytest.mark.parametrize("extension", [".geojson", ".json"])
def test_geojson_is_in_degrees_and_counter_clockwise(tmp_path, layer, extension):
    write_polygons(layer, tmp_path / f"out{extension}")
    back = geopandas.read_file(tmp_path / f"out{extension}")
    assert back.crs.to_epsg() == 4326
    assert back.total_bounds == pytest.approx(frame_of(layer).to_crs(4326).total_bounds, abs=1e-9)
    assert back.exterior.is_ccw.all()


@pytest.mark.parametrize("extension", [".gpkg", ".shp", ".fgb", ".parquet"])
def test_empty_layer(tmp_path, empty, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(empty, path)
    assert len(read(path)) == 0
    assert written(read(path).columns, extension) == [*fields(extension), "geometry"]
    if extension != ".parquet":
        assert pyogrio.read_info(path)["geometry_type"] == "Polygon"


def test_empty_geojson(tmp_path, empty):
    write_polygons(empty, tmp_path / "out.geojson")
    assert pyogrio.read_info(tmp_path / "out.geojson")["features"] == 0


@pytest.mark.parametrize("extension", FORMATS.names)
def test_without_crs_coordinates_stay(tmp_path, extension, recwarn):
    path = tmp_path / f"out{extension}"
    write_polygons(layer_of([[0, 1]], crs=None), path)
    back = read(path)
    assert back.total_bounds.tolist() == [500_000, 3_999_990, 500_020, 4_000_000]
    assert back["area_m2"].isna().all()
    assert not recwarn.list


@pytest.mark.parametrize("extension", [".gpkg", ".shp", ".fgb", ".parquet"])
@pytest.mark.parametrize("crs", [LOCAL, MARS])
def test_odd_crs(tmp_path, crs, extension):
    write_polygons(layer_of([[0, 1]], crs=crs), tmp_path / f"out{extension}")
    assert len(read(tmp_path / f"out{extension}")) == 2


@pytest.mark.parametrize("crs", [LOCAL, MARS])
def test_geojson_needs_the_earth(tmp_path, crs):
    with pytest.raises(OutputError, match="longitude and latitude"):
        write_polygons(layer_of([[0, 1]], crs=crs), tmp_path / "out.geojson")
    assert list(tmp_path.iterdir()) == []


def test_shapefile_names_fit():
    names = [shapefile.NAMES.get(name, name) for name in FIELDS]
    assert all(len(name) <= 10 for name in names)


def test_layer_name(tmp_path, layer):
    write_polygons(layer, tmp_path / "a.gpkg")
    write_polygons(layer, tmp_path / "b.GPKG", name="landcover")
    assert pyogrio.list_layers(tmp_path / "a.gpkg")[0, 0] == "a"
    assert pyogrio.list_layers(tmp_path / "b.GPKG")[0, 0] == "landcover"


@pytest.mark.parametrize("extension", FORMATS.names)
def test_replacing_is_clean(tmp_path, layer, empty, extension):
    path = tmp_path / f"out{extension}"
    stale = [tmp_path / f"out{extension}-wal", tmp_path / f"out{extension}-journal"]
    if extension == ".shp":
        stale = [tmp_path / "out.qix", tmp_path / "out.sbn"]
    write_polygons(layer, path)
    for leftover in stale:
        leftover.write_bytes(b"of another file")
    write_polygons(layer_of([[0]]), path)
    assert len(read(path)) == 1
    assert not any(leftover.exists() for leftover in stale)


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.tif"])
def test_unknown_extension(tmp_path, layer, name):
    with pytest.raises(OutputError, match=re.escape(", ".join(FORMATS))):
        check_extension(name)
    with pytest.raises(OutputError, match=re.escape(", ".join(FORMATS))):
        write_polygons(layer, tmp_path / name)


def test_a_misspelt_extension_is_answered_with_the_nearest(tmp_path, layer):
    with pytest.raises(OutputError, match=r"no vector format is called '\.gpgk': did you mean '\.gpkg'"):
        check_extension("out.gpgk")
    with pytest.raises(OutputError, match=r"did you mean '\.parquet'"):
        write_polygons(layer, tmp_path / "out.parqet")


def test_a_missing_folder_is_made(tmp_path, layer):
    write_polygons(layer, tmp_path / "none" / "out.gpkg")
    assert (tmp_path / "none" / "out.gpkg").exists()


def test_a_folder_that_cannot_be_made(tmp_path, layer):
    (tmp_path / "none").write_text("")
    with pytest.raises(OutputError, match="is a file: choose a folder"):
        write_polygons(layer, tmp_path / "none" / "out.gpkg")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
@pytest.mark.parametrize("extension", [".gpkg", ".shp"])
def test_nothing_stays_of_a_broken_write(tmp_path, layer, extension, error, monkeypatch):
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    before = {part.name: part.read_bytes() for part in tmp_path.iterdir()}

    def half(*args, **options):
        args[1].write_bytes(b"half")
        raise error("enough")

    monkeypatch.setattr(ogr.pyogrio, "write_arrow", half)
    with pytest.raises(OutputError if error is RuntimeError else error):
        write_polygons(layer, path)
    assert {part.name: part.read_bytes() for part in tmp_path.iterdir()} == before


def test_a_shapefile_that_would_grow_too_large_is_refused_before_it_is_written(tmp_path, layer, monkeypatch):
    monkeypatch.setattr(shapefile, "MOST_BYTES", 1000)
    with pytest.raises(OutputError, match=r"holds 2 GB, these 3 polygons with .* write \.gpkg instead"):
        write_polygons(layer, tmp_path / "out.shp")
    assert list(tmp_path.iterdir()) == []


def test_a_polygon_that_is_too_large_is_refused_before_it_is_written(tmp_path, layer, monkeypatch):
    monkeypatch.setattr(geoseg.vector.write, "MOST_VERTICES", 10)
    with pytest.raises(OutputError, match="leave out dissolve, or simplify"):
        write_polygons(layer, tmp_path / "out.fgb")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- what every registered format must do


class Broken(PolygonLayer):
    """A layer whose batches end with an error after the first."""

    def batches(self):
        yield next(super().batches())
        raise OutputError("these polygons cannot be moved")


@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_reads_back_the_classes_and_polygons_that_it_wrote(tmp_path, layer, extension):
    vector_format: VectorFormat = FORMATS.get(extension)
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    class_id, polygons = vector_format.read(path)
    assert class_id.dtype == np.int64
    assert sorted(class_id.tolist()) == [0, 1, 2]
    assert not set(vector_format.leftovers(path)) & {path}
    expected = frame_of(layer).set_index("class_id").geometry
    if vector_format.in_degrees:
        expected = expected.to_crs("OGC:CRS84")
    for k, polygon in zip(class_id.tolist(), polygons, strict=True):
        assert shapely.hausdorff_distance(polygon, expected[k]) < 1e-8


@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_leaves_nothing_of_a_layer_that_ends_early_and_says_why(tmp_path, layer, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    before = {part.name: part.read_bytes() for part in tmp_path.iterdir()}
    broken = Broken(layer.regions, layer.transform, layer.crs, layer.legend)
    with pytest.raises(OutputError, match="these polygons cannot be moved"):
        write_polygons(broken, path)
    assert {part.name: part.read_bytes() for part in tmp_path.iterdir()} == before


def test_a_format_is_loaded_when_a_file_of_it_is_written_and_not_before():
    code = (
        "import sys; from geoseg.vector.formats import check_extension; check_extension('a.gpkg'); "
        "print([name for name in ('pyogrio', 'pyarrow', 'geopandas', 'shapely') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
