"""Polygons of any file, with all that may be wrong in it: read as they are meant, or a line that names the feature."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import shapely

from geoseg.geo.georef import Box
from geoseg.geo.polygonal import polygonal
from geoseg.geo.vector_files import VectorError, layer_extent, polygon_layers, read_columns, read_polygons

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
BOW = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
SPIKED = shapely.make_valid(shapely.Polygon([(0, 0), (2, 0), (2, 2), (2, 3), (2, 2), (0, 2)]))


def geojson(path: Path, *coordinates: Any) -> Path:
    features = [
        {"type": "Feature", "properties": {"kind": str(i)}, "geometry": {"type": "Polygon", "coordinates": rings}}
        for i, rings in enumerate(coordinates)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def texts(path: Path, *shapes: str) -> Path:
    """A table with a column of well-known text, which may hold what no writer of geometry lets through."""
    path.write_text("kind,WKT\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(shapes)))
    return path


def areas(path: Path, boxes: Any = None) -> list[float]:
    return shapely.area(read_polygons(path, polygon_layers(path)[0], "kind", boxes).shapes).tolist()


@pytest.mark.parametrize("boxes", [None, [Box(0.2, 0.2, 0.8, 0.8)]])
def test_open_rings_are_closed(tmp_path: Path, boxes: Any) -> None:
    assert areas(geojson(tmp_path / "p.geojson", [SQUARE], [SQUARE[:-1]]), boxes) == [1, 1]
    assert areas(texts(tmp_path / "p.csv", "POLYGON((0 0,1 0,1 1))"), boxes) == [0.5]


@pytest.mark.parametrize("suffix", ["gpkg", "parquet", "fgb"])
def test_open_rings_of_binary_files_are_closed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    frame = geopandas.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.Polygon(SQUARE)], crs="EPSG:32617")
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    ring = np.array(SQUARE, "<f8").tobytes()
    odd = np.array([*SQUARE[:-1], [0, 0.5]], "<f8").tobytes()
    content = path.read_bytes()
    assert ring in content
    path.write_bytes(content.replace(ring, odd))
    assert areas(path) == [pytest.approx(1)]


@pytest.mark.parametrize("boxes", [None, [Box(0.2, 0.2, 0.8, 0.8)]])
@pytest.mark.parametrize("bad", ["NaN", "1e400"])
def test_coordinates_that_are_no_numbers_are_named(tmp_path: Path, bad: str, boxes: Any) -> None:
    path = geojson(tmp_path / "p.geojson", [SQUARE], [[[0, 0], [1, 0], [1, 7.5], [0, 1], [0, 0]]])
    path.write_text(path.read_text().replace("7.5", bad))
    with pytest.raises(VectorError, match=r"feature 1 has coordinates that are infinite or not a number|number: 1e400"):
        areas(path, boxes)


def test_coordinates_of_binary_files_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    for value in (np.inf, np.nan, 1e13, 1e308):
        shape = shapely.transform(shapely.Polygon(SQUARE), lambda xy, v=value: np.where(xy == [1, 1], v, xy))
        frame = geopandas.GeoDataFrame({"kind": ["a"]}, geometry=[shape], crs="EPSG:32617")
        frame.to_parquet(tmp_path / "p.parquet")
        with pytest.raises(VectorError, match="feature 0 has coordinates that are infinite or not a number: correct"):
            areas(tmp_path / "p.parquet")


@pytest.mark.parametrize("boxes", [None, [Box(0.2, 0.2, 0.8, 0.8)]])
@pytest.mark.parametrize("rings", [[[SQUARE]], [[[0, 0], ["a", 0], [1, 1], [0, 0]]]])
def test_coordinates_nested_wrongly_or_in_words_are_named(tmp_path: Path, rings: Any, boxes: Any) -> None:
    path = geojson(tmp_path / "p.geojson", [SQUARE], rings)
    with pytest.raises(VectorError, match="feature 1 has no readable geometry: correct or remove it"):
        areas(path, boxes)


@pytest.mark.parametrize(
    "text",
    ["POLYHEDRALSURFACE Z(((0 0 0,1 0 0,1 1 0,0 0 0)))", "TIN Z(((0 0 0,1 0 0,1 1 0,0 0 0)))", "nonsense"],
)
def test_what_no_polygon_can_be_made_of_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(VectorError, match=r"^feature 2 (is broken, or no polygon|has no readable geometry)"):
        areas(texts(tmp_path / "p.csv", "POLYGON((0 0,1 0,1 1,0 0))", text), [(0, 0, 1, 1)])


def test_curves_heights_and_measures_are_polygons_in_the_plane(tmp_path: Path) -> None:
    path = texts(
        tmp_path / "p.csv",
        "CURVEPOLYGON(COMPOUNDCURVE(CIRCULARSTRING(0 0,1 1,2 0),(2 0,0 0)))",
        "MULTISURFACE(((0 0,1 0,1 1,0 0)))",
        "POLYGON M((0 0 1,1 0 1,1 1 1,0 0 1))",
        "POLYGON ZM((0 0 1 2,1 0 1 2,1 1 nan 2,0 0 1 2))",
    )
    polygons = read_polygons(path, "p", "kind", None)
    assert not shapely.has_z(polygons.shapes).any()
    np.testing.assert_allclose(shapely.area(polygons.shapes), [np.pi / 2, 0.5, 0.5, 0.5], rtol=1e-3)


def test_of_collections_the_polygons_stay_and_cells_stay_with_them(tmp_path: Path) -> None:
    nested = shapely.GeometryCollection([SPIKED, shapely.GeometryCollection([shapely.box(5, 5, 6, 6)])])
    shapes = [nested, None, shapely.Polygon(), BOW, shapely.Point(1, 1), SPIKED]
    frame = geopandas.GeoDataFrame({"kind": list("abcdef")}, geometry=shapes, crs="EPSG:32617")
    for path in (tmp_path / "p.gpkg", tmp_path / "p.parquet"):
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
        polygons = read_polygons(path, "p", "kind", None)
        assert polygons.values == ["a", "d", "f"]
        assert shapely.area(polygons.shapes).tolist() == [5, 2, 4]
        assert set(shapely.get_type_id(polygons.shapes).tolist()) <= {3, 6}
        assert polygons.others == ("Point",)
        assert (polygons.marks.tolist(), polygons.mark_values) == ([shapely.Point(1, 1)], ["e"])


def test_polygons_of_several_boxes_are_those_of_the_file_in_its_order(tmp_path: Path) -> None:
    shapes = [shapely.box(i, 0, i + 3, 1) for i in (8, 0, 4, 2)]
    frame = geopandas.GeoDataFrame({"kind": [0, 1, 2, 3]}, geometry=shapes, crs="EPSG:32617")
    for path in (tmp_path / "p.gpkg", tmp_path / "p.parquet"):
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
        polygons = read_polygons(path, "p", "kind", [Box(9, 0, 10, 1), Box(1, 0, 2.5, 1)])
        assert polygons.values == [0, 1, 3]


def test_layers_without_polygons_are_passed_over_unless_there_is_no_other(tmp_path: Path) -> None:
    points = geopandas.GeoDataFrame({"kind": [0]}, geometry=[shapely.Point(0, 0)], crs="EPSG:32617")
    points.to_file(tmp_path / "p.gpkg", layer="points")
    assert polygon_layers(tmp_path / "p.gpkg") == ["points"]
    points.assign(geometry=points.buffer(1)).to_file(tmp_path / "p.gpkg", layer="areas")
    assert polygon_layers(tmp_path / "p.gpkg") == ["areas"]
    assert layer_extent(tmp_path / "p.gpkg", "areas") == pytest.approx((-1, -1, 1, 1))
    columns, crs = read_columns(tmp_path / "p.gpkg", "areas")
    assert (columns, crs) == (["kind"], "EPSG:32617")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.geojson", "[" * 100_000),
        ("p.geojson", '{"a": 1}'),
        ("p.geojson", ""),
        ("p.kml", "<kml><Document>"),
        ("p.gpkg", "SQLite format 3"),
        ("p.parquet", "PAR1"),
        ("p.shp", "shape"),
    ],
)
def test_what_is_no_vector_file_is_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(VectorError) as caught:
        areas(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert "explicitly" not in str(caught.value)


def test_a_parquet_file_without_geometry_is_named_as_such(tmp_path: Path) -> None:
    pandas.DataFrame({"kind": [1]}).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(VectorError, match="no GeoParquet file: it does not say which column is the geometry"):
        read_columns(tmp_path / "p.parquet", "p")


def test_parts_that_are_no_polygons_go() -> None:
    line = shapely.LineString([(0, 0), (1, 1)])
    found = polygonal(np.array([line, shapely.box(0, 0, 1, 1), SPIKED], object))
    assert shapely.area(found).tolist() == [0, 1, 4]


def test_a_database_that_fails_is_told_without_its_query(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"kind": ["a"]}, geometry=[shapely.Polygon(SQUARE)], crs="EPSG:32617")
    frame.to_file(tmp_path / "p.gpkg")
    with sqlite3.connect(tmp_path / "p.gpkg") as database:
        database.execute("ALTER TABLE gpkg_contents RENAME COLUMN max_y TO most_y")
    with pytest.raises(VectorError) as caught:
        areas(tmp_path / "p.gpkg")
    assert len(str(caught.value)) < 300
    assert "max_y" in str(caught.value)


def test_texts_in_no_known_alphabet_are_one_line(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"kind": ["grass"]}, geometry=[shapely.Polygon(SQUARE)], crs="EPSG:32617")
    frame.to_parquet(tmp_path / "p.parquet", compression=None)
    (tmp_path / "p.parquet").write_bytes((tmp_path / "p.parquet").read_bytes().replace(b"grass", b"gr\xff\xfes"))
    with pytest.raises(VectorError, match="utf-8"):
        areas(tmp_path / "p.parquet")


@pytest.mark.parametrize("name", ["a" * 300 + ".gpkg", "a" * 300 + ".parquet", "none.shp", "none.gdb"])
def test_names_of_no_file_are_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(VectorError):
        areas(tmp_path / name)
