"""Items lie where the scene lies, and are valid after STAC."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import shapely
from affine import Affine
from rasterio.crs import CRS
from support.models import make_spec

from geoseg.geo.georef import PixelGrid
from geoseg.outputs.stac import MLM, Prediction, landcover_item
from geoseg.spec import ClassSpec

UTM = CRS.from_epsg(32617)
LOCAL = CRS.from_wkt('LOCAL_CS["unnamed",UNIT["metre",1]]')
MARS = CRS.from_string("+proj=eqc +a=3396190 +b=3396190 +units=m +type=crs")
CUSTOM = CRS.from_string("+proj=laea +lat_0=50 +lon_0=10 +datum=WGS84 +units=m")
SQUARE = Affine(100, 0, 450_000, 0, -100, 4_000_000)
PIXELS = Affine(1, 0, 0, 0, -1, 10)
WORLD = Affine(1, 0, -180, 0, -1, 90)


def prediction(tmp_path: Path, grid: PixelGrid | None = None, **fields) -> Prediction:
    values = {
        "name": "scene",
        "scene": str(tmp_path / "in" / "scene.tif"),
        "grid": grid or PixelGrid(1000, 1000, SQUARE, UTM),
        "datetime": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        "model": make_spec(3, bands=("red", "nir", "height")),
        "paths": {kind: tmp_path / "out" / f"l.{end}" for kind, end in [("landcover", "tif"), ("preview", "png")]},
    }
    return Prediction(**values | fields)


def item_on(tmp_path, *grid) -> dict:
    return landcover_item(prediction(tmp_path, PixelGrid(*grid)))


def shape_of(item: dict) -> shapely.Geometry:
    return shapely.geometry.shape(item["geometry"])


def test_item_names_its_parts(tmp_path):
    paths = {kind: tmp_path / "out" / f"l.{end}" for kind, end in [("landcover", "tif"), ("polygons", "gpkg")]}
    item = landcover_item(prediction(tmp_path, paths=paths | {"scores": tmp_path / "s.tif"}, model_path="s3://b/m"))
    assert item["id"] == "scene_landcover"
    assert item["properties"]["datetime"] == "2024-05-06T07:08:09Z"
    assert item["links"] == [{"rel": "derived_from", "href": "../in/scene.tif", "title": "Scene"}]
    hrefs = {kind: asset["href"] for kind, asset in item["assets"].items()}
    assert hrefs == {"landcover": "./l.tif", "polygons": "./l.gpkg", "scores": "../s.tif", "model": "s3://b/m"}
    assert json.loads(json.dumps(item, allow_nan=False)) == item


@pytest.mark.parametrize("scene", ["https://host/a.tif", "/vsis3/bucket/a.tif"])
def test_remote_scene_is_linked_as_it_is(tmp_path, scene):
    assert landcover_item(prediction(tmp_path, scene=scene))["links"][0]["href"] == scene


@pytest.mark.parametrize("zone", [None, UTC, timezone(timedelta(hours=2))])
def test_datetime_is_utc(tmp_path, zone):
    taken = datetime(2024, 1, 1, 1, tzinfo=zone)
    text = landcover_item(prediction(tmp_path, datetime=taken))["properties"]["datetime"]
    assert text == ("2023-12-31T23:00:00Z" if zone and zone != UTC else "2024-01-01T01:00:00Z")


def test_classes_are_described(tmp_path):
    model = make_spec(1).model_copy(
        update={
            "classes": (
                ClassSpec(id=3, name="Gewässer & Moor", color="#2b7fd0"),
                ClassSpec(id=9, name="森林", color="#1f7a3c"),
            )
        }
    )
    item = landcover_item(prediction(tmp_path, model=model))
    classes = item["assets"]["landcover"]["classification:classes"]
    assert [(c["value"], c["name"], c["title"], c["color_hint"]) for c in classes] == [
        (3, "Gewasser_Moor", "Gewässer & Moor", "2B7FD0"),
        (9, "class_9", "森林", "1F7A3C"),
    ]
    assert item["properties"]["mlm:output"][0]["classification:classes"] == classes
    assert all(re.fullmatch("[0-9A-Za-z_-]+", c["name"]) for c in classes)


def test_model_is_described(tmp_path):
    fields = landcover_item(prediction(tmp_path))["properties"]
    assert fields["mlm:name"] == "test"
    assert fields["mlm:architecture"] == "pointwise"
    assert re.match(r"\d+\.\d+\.\d+", fields["mlm:framework_version"])
    model_input, model_output = fields["mlm:input"][0], fields["mlm:output"][0]
    assert model_input["bands"] == ["red", "nir", "height"]
    assert model_input["input"]["shape"] == [-1, 3, 1024, 1024]
    assert model_input["value_scaling"] == [{"type": "z-score", "mean": 0, "stddev": 1}] * 3
    assert model_output["result"]["shape"] == [-1, 3, 1024, 1024]


def test_mlm_is_claimed_only_with_the_model_itself(tmp_path):
    assert MLM not in landcover_item(prediction(tmp_path))["stac_extensions"]
    item = landcover_item(prediction(tmp_path, model_path=str(tmp_path / "out" / "m.safetensors")))
    assert MLM in item["stac_extensions"]
    asset = item["assets"]["model"]
    assert (asset["href"], asset["roles"][0]) == ("./m.safetensors", "mlm:model")
    assert "mlm:artifact_type" in asset
    assert asset["eo:bands"] == [
        {"name": "red", "common_name": "red"},
        {"name": "nir", "common_name": "nir"},
        {"name": "height"},
    ]


# ------------------------------------------------------------------------------------------------------------- place


def test_projection_is_described(tmp_path):
    fields = item_on(tmp_path, 10, 20, SQUARE, UTM)["properties"]
    assert fields["proj:code"] == "EPSG:32617"
    assert fields["proj:shape"] == [10, 20]
    assert fields["proj:transform"] == [100, 0, 450_000, 0, -100, 4_000_000]
    assert "proj:wkt2" not in fields


def test_crs_without_a_code_is_told_in_full(tmp_path):
    fields = item_on(tmp_path, 10, 20, SQUARE, CUSTOM)["properties"]
    assert fields["proj:code"] is None
    assert "Lambert Azimuthal Equal Area" in fields["proj:wkt2"]


@pytest.mark.parametrize("angle", [0, 30, 200])
@pytest.mark.parametrize("flip", [1, -1])
def test_outline_holds_every_corner(tmp_path, angle, flip):
    from pyproj import Transformer

    transform = Affine.translation(400_000, 4_000_000) @ Affine.rotation(angle) @ Affine.scale(100, -100 * flip)
    item = item_on(tmp_path, 500, 800, transform, UTM)
    shape = shape_of(item)
    to_degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    corners = [to_degrees.transform(*(transform @ corner)) for corner in [(0, 0), (800, 0), (800, 500), (0, 500)]]
    assert max(shape.exterior.distance(shapely.Point(corner)) for corner in corners) < 1e-8
    assert item["bbox"] == pytest.approx(shape.bounds, abs=1e-8)
    assert shape.exterior.is_ccw
    assert 5 <= len(shape.exterior.coords) < 40


def test_bent_sides_are_followed(tmp_path):
    lambert = CRS.from_epsg(3035)
    item = item_on(tmp_path, 2000, 2000, Affine(1000, 0, 3_000_000, 0, -1000, 4_000_000), lambert)
    corners = shapely.box(*item["bbox"])
    assert len(shape_of(item).exterior.coords) > 20
    assert shape_of(item).within(corners.buffer(1e-6))


@pytest.mark.parametrize(
    ("grid", "bbox", "parts"),
    [
        ((10, 10, Affine(1, 0, 175, 0, -1, 5), CRS.from_epsg(4326)), [175, -5, -175, 5], 2),
        ((10, 10, Affine(1, 0, 170, 0, -1, 5), CRS.from_epsg(4326)), [170, -5, 180, 5], 1),
        ((10, 10, Affine(1, 0, -180, 0, -1, 5), CRS.from_epsg(4326)), [-180, -5, -170, 5], 1),
        ((10, 10, Affine(1, 0, 180, 0, -1, 5), CRS.from_epsg(4326)), [-180, -5, -170, 5], 1),
        ((180, 360, WORLD, CRS.from_epsg(4326)), [-180, -90, 180, 90], 1),
        ((180, 360, WORLD @ Affine.translation(180, 0), CRS.from_epsg(4326)), [-180, -90, 180, 90], 1),
    ],
)
def test_longitudes_stay_within_180(tmp_path, grid, bbox, parts):
    item = item_on(tmp_path, *grid)
    assert item["bbox"] == bbox
    shape = shape_of(item)
    assert shapely.get_num_geometries(shape) == parts
    assert shapely.box(-180, -90, 180, 90).covers(shape)
    assert shape.area == grid[0] * grid[1]


@pytest.mark.parametrize(("code", "pole"), [(3413, 90), (3031, -90)])
def test_scene_over_a_pole(tmp_path, code, pole):
    item = item_on(tmp_path, 1000, 1000, Affine(5000, 0, -2.5e6, 0, -5000, 2.5e6), CRS.from_epsg(code))
    west, south, east, north = item["bbox"]
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    assert all(shape_of(item).covers(shapely.Point(lon, pole * 0.99)) for lon in (-179, -90, 0, 90, 179))


@pytest.mark.parametrize(
    ("transform", "crs"), [(Affine.identity(), None), (SQUARE, None), (PIXELS, LOCAL), (PIXELS, MARS)]
)
def test_scene_that_lies_nowhere(tmp_path, transform, crs):
    item = item_on(tmp_path, 10, 10, transform, crs)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert ("proj:transform" in item["properties"]) == (not transform.is_identity)


# ------------------------------------------------------------------------------------------------------------- valid


@pytest.mark.parametrize("grid", [PixelGrid(10, 10, SQUARE, UTM), PixelGrid(10, 10, Affine.identity(), None)])
def test_item_is_valid(tmp_path, grid):
    pystac = pytest.importorskip("pystac")
    pytest.importorskip("jsonschema")
    item = landcover_item(prediction(tmp_path, grid, model_path="m.safetensors"))
    pystac.Item.from_dict(item | {"stac_extensions": []}).validate()  # those of extensions are on the network


def test_pystac_understands_the_extensions(tmp_path):
    pystac = pytest.importorskip("pystac")
    from pystac.extensions.classification import ClassificationExtension
    from pystac.extensions.mlm import MLMExtension
    from pystac.extensions.projection import ProjectionExtension

    made = replace(prediction(tmp_path), model_path="m.safetensors")
    item = pystac.Item.from_dict(landcover_item(made))
    assert ProjectionExtension.ext(item).epsg == 32617
    assert MLMExtension.ext(item).input[0].bands == ["red", "nir", "height"]
    classes = ClassificationExtension.ext(item.assets["landcover"]).classes
    assert [c.value for c in classes] == [0, 1, 2]
