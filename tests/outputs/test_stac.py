"""Items lie where the scene lies, and are valid after STAC."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pystac
import pytest
import shapely
from affine import Affine
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.crs import CRS
from support.models import make_spec
from support.stac import validate

from geoseg.geo.georef import PixelGrid
from geoseg.models.model_file import ModelFile
from geoseg.outputs.geotiff import RasterFormat
from geoseg.outputs.stac.assets import ResultFile
from geoseg.outputs.stac.item import EO, MLM, Prediction, landcover_item
from geoseg.outputs.stac.model import _semantic
from geoseg.spec import ClassSpec
from geoseg.vector.formats import FORMATS

UTM = CRS.from_epsg(32617)
LOCAL = CRS.from_wkt('LOCAL_CS["unnamed",UNIT["metre",1]]')
MARS = CRS.from_string("+proj=eqc +a=3396190 +b=3396190 +units=m +type=crs")
CUSTOM = CRS.from_string("+proj=laea +lat_0=50 +lon_0=10 +datum=WGS84 +units=m")
SQUARE = Affine(100, 0, 450_000, 0, -100, 4_000_000)
PIXELS = Affine(1, 0, 0, 0, -1, 10)
WORLD = Affine(1, 0, -180, 0, -1, 90)
IDS = RasterFormat("uint8", 255, ("class",))
PERCENT = RasterFormat("uint8", 255, ("field, percent", "water, percent"))
SHARES = RasterFormat("float32", math.nan, ("field", "water"))


def prediction(tmp_path: Path, grid: PixelGrid | None = None, **fields) -> Prediction:
    values = {
        "name": "scene",
        "scene": str(tmp_path / "in" / "scene.tif"),
        "grid": grid or PixelGrid(1000, 1000, SQUARE, UTM),
        "datetime": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        "model": make_spec(3, bands=("red", "nir", "height")),
        "files": {"landcover": result(tmp_path / "out" / "l.tif", IDS), "preview": result(tmp_path / "out" / "l.png")},
    }
    return Prediction(**values | fields)


def result(path: Path, raster: RasterFormat | None = None) -> ResultFile:
    return ResultFile(path, 12, "ab" * 32, raster)


def model_file(path: str | Path = "m.safetensors") -> ModelFile:
    return ModelFile(Path(path), 99, "cd" * 32, "application/octet-stream", "safetensors.torch.save_file")


def item_on(tmp_path, *grid) -> dict:
    return landcover_item(prediction(tmp_path, PixelGrid(*grid)))


def shape_of(item: dict) -> shapely.Geometry:
    return shapely.geometry.shape(item["geometry"])


def test_item_names_its_parts(tmp_path):
    files = {
        "landcover": tmp_path / "out" / "l.tif",
        "polygons": tmp_path / "out" / "l.gpkg",
        "scores": tmp_path / "s.tif",
    }
    item = landcover_item(
        prediction(
            tmp_path,
            files={kind: result(path) for kind, path in files.items()},
            model_file=model_file(tmp_path / "out" / "my model.safetensors"),
        )
    )
    assert item["id"] == "scene_landcover"
    assert item["properties"]["datetime"] == "2024-05-06T07:08:09Z"
    assert item["links"] == [{"rel": "derived_from", "href": "../in/scene.tif", "title": "Scene"}]
    hrefs = {kind: asset["href"] for kind, asset in item["assets"].items()}
    expected = {
        "landcover": "./l.tif",
        "polygons": "./l.gpkg",
        "scores": "../s.tif",
        "model": "./my%20model.safetensors",
    }
    assert hrefs == expected
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


@pytest.mark.parametrize(
    ("name", "written"),
    [("naip 1.0", "naip 1.0"), ("Wälder–2", "Walder2"), ("u", "model_u"), ("森林", "model"), ("9b_", "model_9b")],
)
def test_a_model_is_named_in_the_letters_that_mlm_allows(tmp_path, name, written):
    item = landcover_item(prediction(tmp_path, model=make_spec(3, name=name), model_file=model_file()))
    assert item["properties"]["mlm:name"] == written
    assert item["assets"]["model"]["title"] == name


@pytest.mark.parametrize(
    ("python", "semantic"),
    [
        ("2.8.0", "2.8.0"),
        ("2.8.0+cpu", "2.8.0+cpu"),
        ("2.9.0a0+git1.x", "2.9.0+git1.x"),
        ("3.1rc1", "3.1.0"),
        ("x", "0.0.0"),
    ],
)
def test_the_version_of_pytorch_is_written_as_mlm_allows(python, semantic):
    assert _semantic(python) == semantic


def test_mlm_is_claimed_only_with_the_model_itself(tmp_path):
    assert MLM not in landcover_item(prediction(tmp_path))["stac_extensions"]
    item = landcover_item(prediction(tmp_path, model_file=model_file(tmp_path / "out" / "m.safetensors")))
    assert {EO, MLM} <= set(item["stac_extensions"])
    asset = item["assets"]["model"]
    assert (asset["href"], asset["roles"][0]) == ("./m.safetensors", "mlm:model")
    assert (asset["type"], asset["mlm:artifact_type"]) == ("application/octet-stream", "safetensors.torch.save_file")
    assert (asset["file:size"], asset["file:checksum"]) == (99, "1220" + "cd" * 32)
    assert asset["eo:bands"] == [
        {"name": "red", "common_name": "red"},
        {"name": "nir", "common_name": "nir"},
        {"name": "height"},
    ]


# ------------------------------------------------------------------------------------------------------------- files


def assets_of(tmp_path: Path, grid: PixelGrid | None = None, **rasters: RasterFormat | None) -> dict:
    files = {"landcover": IDS} | rasters
    made = prediction(tmp_path, grid, files={kind: result(tmp_path / kind, raster) for kind, raster in files.items()})
    return landcover_item(made)["assets"]


def test_rasters_are_described_so_that_they_need_not_be_opened(tmp_path):
    assets = assets_of(tmp_path, confidence=RasterFormat("uint8", 255, ("certainty",)), scores=PERCENT)
    place = {"proj:code", "proj:shape", "proj:transform", "proj:bbox"}
    assert all(place <= asset.keys() for asset in assets.values())
    assert assets["landcover"]["proj:bbox"] == [450_000, 3_900_000, 550_000, 4_000_000]
    values = {kind: [asset.get(key) for key in ("data_type", "nodata", "unit")] for kind, asset in assets.items()}
    assert values == {
        "landcover": ["uint8", 255, None],
        "confidence": ["uint8", 255, "%"],
        "scores": ["uint8", 255, "%"],
    }
    assert [band["name"] for band in assets["landcover"]["bands"]] == ["landcover"]
    assert [band["name"] for band in assets["scores"]["bands"]] == ["field", "water"]


def test_shares_are_no_percent_and_their_nodata_is_no_number(tmp_path):
    scores = assets_of(tmp_path, scores=SHARES)["scores"]
    assert (scores["data_type"], scores["nodata"], "unit" in scores) == ("float32", "nan", False)


def test_size_and_checksum_are_those_of_the_file_before_it_is_published(tmp_path):
    draft = tmp_path / "draft0.png"
    draft.write_bytes(b"abc")
    file = ResultFile.measured(tmp_path / "l.png", draft)
    made = prediction(tmp_path, files={"landcover": result(tmp_path / "l.tif", IDS), "preview": file})
    preview = landcover_item(made)["assets"]["preview"]
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of abc, from FIPS 180
    assert (preview["file:size"], preview["file:checksum"]) == (3, f"1220{digest}")
    assert not any(key.startswith("proj:") for key in preview)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("l.gpkg", "application/geopackage+sqlite3"),
        ("l.GEOJSON", "application/geo+json"),
        ("l.parquet", "application/vnd.apache.parquet"),
        ("l.other", "application/octet-stream"),
    ],
)
def test_polygons_are_of_the_media_type_of_their_format(tmp_path, name, media_type):
    files = {"landcover": result(tmp_path / "l.tif", IDS), "polygons": result(tmp_path / name)}
    assert landcover_item(prediction(tmp_path, files=files))["assets"]["polygons"]["type"] == media_type


@pytest.mark.parametrize("suffix", [suffix for suffix in FORMATS if suffix in FORMATS.own])
def test_every_vector_format_has_a_media_type_of_its_own(tmp_path, suffix):
    files = {"landcover": result(tmp_path / "l.tif", IDS), "polygons": result(tmp_path / f"l{suffix}")}
    assert landcover_item(prediction(tmp_path, files=files))["assets"]["polygons"]["type"] != "application/octet-stream"


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


@pytest.mark.parametrize("angle", [0, 90, 200])
def test_the_box_holds_all_corners_of_a_rotated_grid(tmp_path, angle):
    transform = Affine.translation(400_000, 4_000_000) @ Affine.rotation(angle) @ Affine.scale(100, -100)
    left, bottom, right, top = item_on(tmp_path, 500, 800, transform, UTM)["properties"]["proj:bbox"]
    corners = [transform @ corner for corner in [(0, 0), (800, 0), (800, 500), (0, 500)]]
    assert (left, right) == (min(x for x, _ in corners), max(x for x, _ in corners))
    assert (bottom, top) == (min(y for _, y in corners), max(y for _, y in corners))


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


GRIDS = {
    "coded": PixelGrid(10, 10, SQUARE, UTM),
    "custom": PixelGrid(10, 10, SQUARE, CUSTOM),
    "nowhere": PixelGrid(10, 10, Affine.identity(), None),
    "local": PixelGrid(10, 10, PIXELS, LOCAL),
    "across 180": PixelGrid(10, 10, Affine(1, 0, 175, 0, -1, 5), CRS.from_epsg(4326)),
}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())
@pytest.mark.parametrize("of_file", [True, False])
@pytest.mark.parametrize("scores", [PERCENT, SHARES])
def test_an_item_is_valid_by_the_schemas_of_stac_and_all_its_extensions(tmp_path, grid, of_file, scores):
    files = {"landcover": result(tmp_path / "l.tif", IDS), "scores": result(tmp_path / "s.tif", scores)}
    files |= {"polygons": result(tmp_path / "l.gpkg"), "preview": result(tmp_path / "l.png")}
    model = make_spec(3, name="Wälder", bands=("red", "nir", "height"))
    made = prediction(tmp_path, grid, files=files, model=model, model_file=model_file() if of_file else None)
    item = json.loads(json.dumps(landcover_item(made)))
    assert set(item["stac_extensions"]) < set(validate(item))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("assets", "landcover", "data_type"), "byte"),
        (("assets", "landcover", "proj:bbox"), [1, 2, 3]),
        (("assets", "landcover", "file:checksum"), "SHA"),
        (("assets", "landcover", "classification:classes", 0, "name"), "a b"),
        (("assets", "model", "roles"), ["data"]),
        (("properties", "mlm:name"), "9"),
        (("properties", "mlm:output", 0, "classification:classes", 0, "color_hint"), "#fff"),
    ],
)
def test_the_schemas_find_what_is_wrong(tmp_path, place, value):
    item = json.loads(json.dumps(landcover_item(prediction(tmp_path, model_file=model_file()))))
    validate(item)
    part = item
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    with pytest.raises(pystac.STACValidationError):
        validate(item)


def test_pystac_understands_the_extensions(tmp_path):
    made = replace(prediction(tmp_path), model_file=model_file())
    item = pystac.Item.from_dict(landcover_item(made))
    assert ProjectionExtension.ext(item).epsg == 32617
    assert ProjectionExtension.ext(item.assets["landcover"]).bbox == [450_000, 3_900_000, 550_000, 4_000_000]
    assert FileExtension.ext(item.assets["preview"]).size == 12
    assert MLMExtension.ext(item).input[0].bands == ["red", "nir", "height"]
    classes = ClassificationExtension.ext(item.assets["landcover"]).classes
    assert [c.value for c in classes] == [0, 1, 2]
