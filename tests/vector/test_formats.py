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
from rasterio.crs import CRS as RasterioCRS
from support.polygons import frame_of
from support.rasters import UTM_DENSITY

import geoseg.vector.write
from geoseg.core.errors import OutputError
from geoseg.raster.legend import Legend
from geoseg.raster.strips import Strip
from geoseg.vector.formats import FORMATS, VectorFormat, check_extension, geoparquet, ogr, shapefile
from geoseg.vector.layer import PolygonLayer, by_class
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


def coordinates(extension) -> str:
    return FORMATS.get(extension).traits.coordinates


def holding(*kinds) -> list[str]:
    """Extensions of the formats whose coordinates are of these kinds."""
    return [extension for extension in FORMATS if coordinates(extension) in kinds]


NEAR = {"own": 1e-8, "degrees": 1e-8, "tiles": 10 / 8}
"""How far a border may move, in units of the layer, by the kind of the coordinates; a pixel of it has a side of 10."""


def read(path) -> geopandas.GeoDataFrame:
    frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
    return frame.sort_values("class_id", ignore_index=True)


@pytest.mark.parametrize("extension", holding("own", "degrees"))
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
    assert same.all() or coordinates(extension) == "degrees"
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


@pytest.mark.parametrize("extension", holding("own", "degrees"))
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


@pytest.mark.parametrize("extension", holding("own", "degrees"))
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
    assert not any(leftover.exists() and leftover.read_bytes() == b"of another file" for leftover in stale)


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

    def batches_along_curve(self):
        return self.batches()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_opens_in_geopandas_without_a_warning(tmp_path, layer, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    frame = geopandas.read_parquet(path) if extension == ".parquet" else geopandas.read_file(path)
    assert set(fields(extension)) <= set(frame.columns)
    assert frame["confidence"].tolist() == pytest.approx([0.8] * len(frame))
    assert frame.crs is not None


@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_reads_back_and_counts_the_classes_and_polygons_that_it_wrote(tmp_path, layer, extension):
    vector_format: VectorFormat = FORMATS.get(extension)
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    assert vector_format.count(path) == 3
    class_id, polygons = vector_format.read(path)
    assert class_id.dtype == np.int64
    assert sorted(class_id.tolist()) == [0, 1, 2]
    assert not set(vector_format.parts(path)) & {path}
    kind = vector_format.traits.coordinates
    expected = frame_of(layer).set_index("class_id").geometry
    expected = expected.to_crs({"own": UTM, "degrees": "OGC:CRS84", "tiles": "EPSG:3857"}[kind])
    for k, polygon in zip(class_id.tolist(), polygons, strict=True):
        assert shapely.hausdorff_distance(polygon, expected[k]) < NEAR[kind]


@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_leaves_nothing_of_a_layer_that_ends_early_and_says_why(tmp_path, layer, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(layer, path)
    before = {part.name: part.read_bytes() for part in tmp_path.iterdir()}
    broken = Broken(layer.regions, layer.transform, layer.crs, layer.legend)
    with pytest.raises(OutputError, match="these polygons cannot be moved"):
        write_polygons(broken, path)
    assert {part.name: part.read_bytes() for part in tmp_path.iterdir()} == before


@pytest.mark.parametrize("extension", holding("own"))
@pytest.mark.parametrize(("crs", "code"), [("EPSG:5972", 25832), ("EPSG:5973", 25833), ("EPSG:4979", 4326)])
def test_the_map_of_a_system_with_heights_keeps_its_code(tmp_path, crs, code, extension):
    path = tmp_path / f"out{extension}"
    write_polygons(layer_of([[0, 1]], crs=RasterioCRS.from_user_input(crs)), path)
    assert read(path).crs.to_epsg() == code


def test_a_shapefile_has_a_spatial_index(tmp_path, layer):
    write_polygons(layer, tmp_path / "out.shp")
    assert sorted(part.suffix for part in tmp_path.iterdir()) == [".cpg", ".dbf", ".prj", ".qix", ".shp", ".shx"]


@pytest.mark.parametrize("extension", holding("tiles"))
def test_tiles_need_a_place_on_the_earth_and_something_to_show(tmp_path, extension, empty):
    for nowhere, message in ((None, "needs a place on the earth"), (LOCAL, "needs longitude and latitude")):
        with pytest.raises(OutputError, match=message):
            write_polygons(layer_of([[0, 1]], crs=nowhere), tmp_path / f"out{extension}")
    with pytest.raises(OutputError, match="there is no polygon, and tiles cannot be empty"):
        write_polygons(empty, tmp_path / f"out{extension}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", holding("tiles"))
def test_tiles_do_not_stretch_over_the_world_from_180_degrees(tmp_path, extension):
    ids = np.array([[0, 0, 0, 1], [0, 0, 0, 1]], np.uint8)
    regions = trace([Strip(0, ids)], 4)
    layer = PolygonLayer(regions, Affine(1000, 0, 768_500, 0, -1000, 4_000_000), "EPSG:32660")
    write_polygons(layer, tmp_path / f"out{extension}")
    frame = read(tmp_path / f"out{extension}").to_crs("EPSG:32660")
    assert FORMATS.get(extension).count(tmp_path / f"out{extension}") == 2
    pieces = geopandas.read_file(tmp_path / f"out{extension}").bounds
    assert (pieces["maxx"] - pieces["minx"]).max() < 10_000
    assert frame.area.sum() == pytest.approx(8e6, rel=0.03)  # pieces overlap a little at the borders of tiles


# -------------------------------------------------------------------------------------------------------- GeoParquet


def checkered(rows, columns) -> PolygonLayer:
    return layer_of(np.indices((rows, columns)).sum(axis=0) % 2)


def test_a_geoparquet_says_what_it_holds(tmp_path, layer):
    write_polygons(layer, tmp_path / "out.parquet")
    metadata = pyarrow.parquet.read_metadata(tmp_path / "out.parquet")
    about = json.loads(metadata.metadata[b"geo"])
    column = about["columns"]["geometry"]
    assert (about["version"], about["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Polygon"])
    assert (column["orientation"], column["edges"]) == ("counterclockwise", "planar")
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32617}
    assert column["bbox"] == frame_of(layer).total_bounds.tolist()
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    columns = [metadata.row_group(0).column(index) for index in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    schema = pyarrow.parquet.read_schema(tmp_path / "out.parquet")
    assert schema.field("bbox").nullable == schema.field("geometry").nullable


def test_the_boxes_of_a_geoparquet_are_those_of_its_polygons(tmp_path):
    write_polygons(checkered(9, 7), tmp_path / "out.parquet")
    frame = geopandas.read_parquet(tmp_path / "out.parquet")
    boxes = pyarrow.parquet.read_table(tmp_path / "out.parquet")["bbox"].combine_chunks().flatten()
    np.testing.assert_array_equal(np.stack(boxes, axis=1), frame.bounds.to_numpy())
    left = geopandas.read_parquet(tmp_path / "out.parquet", bbox=(500_000, 3_999_911, 500_009, 4_000_000))
    assert len(left) == 9


def test_a_geoparquet_goes_along_a_hilbert_curve_in_full_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(geoparquet, "GROUP_ROWS", 64)
    monkeypatch.setattr("geoseg.vector.layer.BATCH", 99)
    write_polygons(checkered(16, 17), tmp_path / "out.parquet")
    metadata = pyarrow.parquet.read_metadata(tmp_path / "out.parquet")
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sizes == [64, 64, 64, 64, 16]
    frame = geopandas.read_parquet(tmp_path / "out.parquet")
    steps = shapely.distance(frame.centroid[:-1].values, frame.centroid[1:].values)
    assert steps.mean() < 15  # pixels have a side of 10; row by row it would be more at the end of each row
    assert steps.max() < 60
    expected = frame_of(checkered(16, 17))
    assert sorted(frame.geometry.to_wkb()) == sorted(expected.geometry.to_wkb())


def test_multipolygons_are_ordered_as_wholes(tmp_path):
    regions = layer_of([[0, 1, 0], [1, 0, 1], [0, 1, 0]]).regions
    grouped, features = by_class(regions)
    layer = PolygonLayer(grouped, Affine(10, 0, 500_000, 0, -10, 4_000_000), UTM, features=features)
    write_polygons(layer, tmp_path / "out.parquet")
    frame = read(tmp_path / "out.parquet")
    assert frame["class_id"].tolist() == [0, 1]
    assert [len(shape.geoms) for shape in frame.geometry] == [5, 4]
    assert (frame["area_m2"] / UTM_DENSITY).tolist() == pytest.approx([500, 400])
    assert frame["confidence"].tolist() == pytest.approx([0.8, 0.8])


def test_a_format_is_loaded_when_a_file_of_it_is_written_and_not_before():
    code = (
        "import sys; from geoseg.vector.formats import check_extension; check_extension('a.gpkg'); "
        "print([name for name in ('pyogrio', 'pyarrow', 'geopandas', 'shapely') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
