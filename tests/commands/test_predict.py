"""The whole pipeline, with models whose right answer is known."""

import json
import os
import re
import signal
import sqlite3
import threading
from xml.etree import ElementTree

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.features import rasterize
from rasterio.rpc import RPC
from rio_cogeo.cogeo import cog_validate
from support.forks import exit_code_of, kill_itself, needs_fork
from support.models import CountingEcho, Echo, echo_model, make_spec, save_bundle
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.core.errors import ModelError, OutputError, SpecError
from geoseg.inference.batches import part_with_data
from geoseg.models.model import Model
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import NetworkSpec, NormalizationSpec

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

EVERYWHERE = slice(None), slice(None)
QUICK = {"polygons": False, "preview": False}
FINISHED_BEFORE_POLYGONS = {f"s_landcover.{end}" for end in ("tif", "tif.aux.xml", "png", "qml", "sld")}


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 260),
    st.integers(1, 260),
    st.sampled_from([32, 64, 128]),
    st.integers(0, 50),
    st.integers(1, 4),
    st.integers(0, 9),
)
def test_an_echo_comes_back_for_any_size_tile_overlap_and_batch(
    tmp_path_factory, height, width, tile, part, batch, seed
):
    folder = tmp_path_factory.mktemp("echo")
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 4, (height, width), dtype=np.uint8)
    holes = generator.random((height, width)) < 0.2
    scene = write_raster(folder / "scene.tif", np.where(holes, 99, values).astype(np.uint8), nodata=99)
    result = predict(
        scene,
        folder,
        model=echo_model(),
        tile=tile,
        overlap=tile * part // 100,
        batch_size=batch,
        precision="fp32",
        **QUICK,
    )
    np.testing.assert_array_equal(read(result.paths["landcover"]), np.where(holes, 255, values))


def smooth_network():
    """A small network with a receptive field of 19 pixels, about as smooth as a trained one."""
    torch.manual_seed(3)
    layers = []
    for bands_in, bands_out in ((3, 8), (8, 8), (8, 4)):
        layers += [torch.nn.Conv2d(bands_in, bands_out, 7, padding=3), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


class Plain(torch.nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, image, context=None):
        return self.body(image / 255)


@pytest.mark.parametrize(("height", "width"), [(300, 410), (97, 333), (30, 20), (256, 256)])
@pytest.mark.parametrize("holes", [False, True])
def test_agrees_with_one_forward_pass_over_the_whole_scene(tmp_path, height, width, holes):
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 255, (3, height // 8 + 1, width // 8 + 1)).astype(np.uint8)
    image = np.kron(coarse, np.ones((1, 8, 8), np.uint8))[:, :height, :width].clip(1)
    valid = np.ones((height, width), bool)
    if holes:
        valid[height // 3 : height // 2, width // 4 : width // 2] = False
        image[:, ~valid] = 0
    fill = (100.0, 110.0, 120.0)
    network = Plain(smooth_network())
    spec = make_spec(bands=("red", "green", "blue"), normalization=NormalizationSpec(mean=fill, std=(1, 1, 1)))
    scene = write_raster(tmp_path / "s.tif", image, nodata=0)
    result = predict(scene, tmp_path, model=Model(spec, network), tile=128, overlap=32, precision="fp32", **QUICK)

    filled = np.where(valid, image, np.array(fill)[:, None, None])
    padded = np.pad(filled, ((0, 0), (32, 32), (32, 32)), mode="reflect").astype(np.float32)
    with torch.inference_mode():
        whole = network(torch.from_numpy(padded)[None])[0].argmax(0).numpy()[32 : 32 + height, 32 : 32 + width]
    agree = read(result.paths["landcover"]) == np.where(valid, whole, 255)
    assert agree.mean() >= 0.997
    edge = np.ones_like(agree)
    edge[8:-8, 8:-8] = False
    assert agree[edge].mean() >= 0.995


def test_empty_windows_are_never_forwarded(tmp_path):
    values = np.full((600, 600), 99, np.uint8)
    values[500:520, 40:70] = 2
    echo = CountingEcho(4)
    scene = write_raster(tmp_path / "s.tif", values, nodata=99)
    result = predict(scene, tmp_path, model=Model(make_spec(), echo), tile=128, overlap=16, **QUICK)
    np.testing.assert_array_equal(read(result.paths["landcover"]), np.where(values == 99, 255, values))
    assert result.forwarded_px == echo.seen
    assert echo.seen < 4 * 128 * 128
    assert result.valid_px == 600


def test_all_nodata_gives_empty_results(tmp_path):
    scene = write_raster(tmp_path / "s.tif", np.zeros((50, 60), np.uint8), nodata=0)
    result = predict(scene, tmp_path, model=echo_model())
    assert (read(result.paths["landcover"]) == 255).all()
    assert len(geopandas.read_file(result.paths["polygons"])) == result.polygons == 0
    assert result.paths["preview"].exists()
    assert result.forwarded_px == 0


def test_the_part_with_data_keeps_a_margin():
    valid = np.zeros((512, 512), bool)
    valid[100:110, 300:340] = True
    part = part_with_data(valid, EVERYWHERE, margin=32, multiple=32)
    assert part.row <= 68
    assert part.row + part.height >= 142
    assert part.height % 32 == 0
    assert part.width % 32 == 0
    assert part_with_data(np.ones((512, 512), bool), EVERYWHERE, 32, 32).pixels == 512 * 512


WGS84 = Geod(ellps="WGS84")


def on_earth(shape) -> float:
    """Area in square metres of a scene of so many pixels."""
    left, top, right, bottom = *(TRANSFORM @ (0, 0)), *(TRANSFORM @ (shape[1], shape[0]))
    outline = geopandas.GeoSeries([shapely.box(left, bottom, right, top)], crs=UTM).to_crs(4326)[0]
    return abs(WGS84.geometry_area_perimeter(outline)[0])


def test_the_class_raster_is_ready_for_a_gis(tmp_path, class_values):
    values = class_values(700, 900)
    scene = write_raster(tmp_path / "scene.tif", values)
    result = predict(scene, tmp_path, model=echo_model(), tile=256, overlap=32)
    path = result.paths["landcover"]
    assert path.name == "scene_landcover.tif"
    assert cog_validate(str(path), strict=True)[0]
    with rasterio.open(path) as dataset:
        assert (dataset.dtypes, dataset.nodata, dataset.count) == (("uint8",), 255, 1)
        assert dataset.transform == TRANSFORM
        assert dataset.crs.to_epsg() == 32617
        assert dataset.overviews(1)
        assert dataset.compression.name == "deflate"
        tags = dataset.tags()
        assert tags["GEOSEG_MODEL"] == "test"
        assert tags["CLASS_1"] == "class 1"
        assert json.loads(tags["GEOSEG_SETTINGS"])["tile"] == 256
        assert [c["name"] for c in json.loads(tags["GEOSEG_CLASSES"])] == [f"class {i}" for i in range(4)]
        assert dataset.colormap(1)[1][:3] == tuple(bytes.fromhex(make_spec().classes[1].color[1:]))
    shares = np.bincount(values.ravel(), minlength=4) / values.size
    np.testing.assert_allclose([c.share for c in result.classes], shares)
    np.testing.assert_allclose(sum(c.area_m2 for c in result.classes), on_earth(values.shape), rtol=1e-7)


def test_polygons_burn_back_to_the_raster(tmp_path, class_values):
    values = class_values(150, 170)
    values[20:60, 30:90] = 99
    scene = write_raster(tmp_path / "scene.tif", values, nodata=99)
    result = predict(scene, tmp_path, model=echo_model(), tile=64, overlap=16)
    frame = geopandas.read_file(result.paths["polygons"])
    burnt = rasterize(
        zip(frame.geometry, frame["class_id"], strict=True), values.shape, fill=255, transform=TRANSFORM, dtype="uint8"
    )
    np.testing.assert_array_equal(burnt, np.where(values == 99, 255, values))
    assert frame.geometry.is_valid.all()
    geodesic = frame.geometry.to_crs(4326).map(lambda polygon: abs(WGS84.geometry_area_perimeter(polygon)[0]))
    np.testing.assert_allclose(frame["area_m2"], geodesic, atol=1e-5)
    np.testing.assert_allclose(
        frame.groupby("class")["area_m2"].sum(), [c.area_m2 for c in result.classes if c.pixels], rtol=1e-6
    )
    np.testing.assert_allclose(frame["confidence"], 1)
    assert set(frame["class"]) == {f"class {i}" for i in range(4)}


GEOREFERENCING = {
    "projected": ("EPSG:32617", TRANSFORM),
    "geographic": ("EPSG:4326", Affine(1e-5, 0, 12.0, 0, -1e-5, 48.0)),
    "rotated": ("EPSG:32617", Affine.translation(3e5, 4.3e6) @ Affine.rotation(30) @ Affine.scale(0.6, -0.6)),
    "south-up": ("EPSG:32617", Affine(0.6, 0, 3e5, 0, 0.6, 4.3e6)),
    "non-square": ("EPSG:32617", Affine(0.9, 0, 3e5, 0, -0.4, 4.3e6)),
    "no CRS": (None, TRANSFORM),
    "nothing": (None, Affine.identity()),
}


@pytest.mark.parametrize("case", GEOREFERENCING)
def test_georeferencing_is_kept_exactly(tmp_path, class_values, case):
    crs, transform = GEOREFERENCING[case]
    values = class_values(60, 70)
    scene = write_raster(tmp_path / "s.tif", values, crs=crs, transform=transform)
    result = predict(scene, tmp_path, model=echo_model(), resolution="native")
    with rasterio.open(result.paths["landcover"]) as got, rasterio.open(scene) as given:
        assert (got.crs, got.transform, got.shape) == (given.crs, given.transform, given.shape)
        np.testing.assert_array_equal(got.read(1), values)
    frame = geopandas.read_file(result.paths["polygons"])
    burnt = rasterize(
        zip(frame.geometry, frame["class_id"], strict=True), values.shape, fill=255, transform=transform, dtype="uint8"
    )
    np.testing.assert_array_equal(burnt, values)
    assert (crs is None) == any("no CRS" in line for line in result.notices)


@pytest.mark.parametrize("code", [32617, None])
def test_control_points_are_kept_and_polygons_are_in_pixels(tmp_path, class_values, code):
    corners = [
        GroundControlPoint(r, c, 500_000 + c, 4_000_000 - r, 0.0) for r, c in ((0, 0), (0, 70), (60, 0), (60, 70))
    ]
    scene = tmp_path / "s.tif"
    with rasterio.open(scene, "w", driver="GTiff", height=60, width=70, count=1, dtype="uint8") as dataset:
        dataset.write(class_values(60, 70), 1)
        dataset.gcps = corners, rasterio.crs.CRS.from_epsg(code) if code else rasterio.crs.CRS()
    result = predict(scene, tmp_path, model=echo_model())
    with rasterio.open(result.paths["landcover"]) as dataset:
        points, crs = dataset.gcps
    assert [(p.row, p.col, p.x, p.y) for p in points] == [(p.row, p.col, p.x, p.y) for p in corners]
    assert (crs.to_epsg() if crs else None) == code
    assert tuple(geopandas.read_file(result.paths["polygons"]).total_bounds) == (0, 0, 70, 60)
    assert any("pixel coordinates" in line for line in result.notices)


def described(tmp_path, place):
    """A scene whose place is told by a virtual raster."""
    write_raster(tmp_path / "pixels.tif", np.zeros((6, 7), np.uint8), crs=None, transform=Affine.identity())
    source = '<SourceFilename relativeToVRT="1">pixels.tif</SourceFilename><SourceBand>1</SourceBand>'
    band = f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource>{source}</SimpleSource></VRTRasterBand>'
    (tmp_path / "s.vrt").write_text(f'<VRTDataset rasterXSize="7" rasterYSize="6">{place}{band}</VRTDataset>')
    return tmp_path / "s.vrt"


def test_a_transform_goes_before_control_points(tmp_path):
    points = '<GCPList><GCP Id="0" Pixel="0" Line="0" X="1" Y="2"/></GCPList>'
    place = "<SRS>EPSG:32617</SRS><GeoTransform>300000,1,0,4000000,0,-1</GeoTransform>"
    result = predict(described(tmp_path, place + points), tmp_path, model=echo_model())
    with rasterio.open(result.paths["landcover"]) as dataset:
        assert (dataset.crs.to_epsg(), dataset.transform.c) == (32617, 300_000)


@pytest.mark.parametrize("numbers", ["nan,1,0,4000000,0,-1", "300000,0,0,4000000,0,0", "300000,inf,0,4000000,0,-1"])
def test_a_transform_that_places_nothing_is_none(tmp_path, numbers):
    scene = described(tmp_path, f"<SRS>EPSG:32617</SRS><GeoTransform>{numbers}</GeoTransform>")
    result = predict(scene, tmp_path, model=echo_model())
    assert tuple(geopandas.read_file(result.paths["polygons"]).total_bounds) == (0, 0, 7, 6)
    assert any("pixel coordinates" in line for line in result.notices)
    for area in ({"bbox": (0, 0, 1, 1)}, {"aoi": tmp_path / "none.gpkg"}):
        with pytest.raises(SpecError, match="has no coordinates: leave out"):
            predict(scene, tmp_path, model=echo_model(), overwrite=True, **area)


def test_rpcs_are_kept(tmp_path, class_values):
    rpcs = RPC(
        height_off=10, height_scale=500, lat_off=48, lat_scale=0.1, line_off=30, line_scale=30, long_off=12,
        long_scale=0.1, samp_off=35, samp_scale=35, line_num_coeff=[0.0] * 20, line_den_coeff=[1.0] + [0.0] * 19,
        samp_num_coeff=[0.0] * 20, samp_den_coeff=[1.0] + [0.0] * 19,
    )  # fmt: skip
    scene = write_raster(tmp_path / "s.tif", class_values(60, 70), crs=None, transform=Affine.identity(), rpcs=rpcs)
    result = predict(scene, tmp_path, model=echo_model())
    with rasterio.open(result.paths["landcover"]) as dataset:
        assert dataset.rpcs.lat_off == 48
        assert dataset.rpcs.samp_scale == 35


ROTATED_POLE = (
    'GEOGCRS["Rotated pole",BASEGEOGCRS["WGS 84",DATUM["World Geodetic System 1984",ELLIPSOID["WGS 84",6378137,'
    '298.257223563]]],DERIVINGCONVERSION["Pole rotation (netCDF CF convention)",METHOD["Pole rotation (netCDF CF '
    'convention)"],PARAMETER["Grid north pole latitude (netCDF CF convention)",36],PARAMETER["Grid north pole '
    'longitude (netCDF CF convention)",65],PARAMETER["North pole grid longitude (netCDF CF convention)",0]],'
    'CS[ellipsoidal,2],AXIS["latitude",north],AXIS["longitude",east],ANGLEUNIT["degree",0.0174532925199433]]'
)


def test_sidecar_files_are_read_and_written(tmp_path, class_values):
    """A CRS that GeoTIFF cannot express, and coordinates in a world file."""
    scene = write_raster(
        tmp_path / "s.tif", class_values(30, 30), crs=ROTATED_POLE, transform=Affine(0.1, 0, 1, 0, -0.1, 50)
    )
    assert (tmp_path / "s.tif.aux.xml").exists()
    with rasterio.open(predict(scene, tmp_path, model=echo_model(), **QUICK).paths["landcover"]) as got:
        assert got.crs == rasterio.open(scene).crs
        assert not got.crs.is_projected
    bare = write_raster(tmp_path / "w.tif", class_values(30, 30), crs=None, transform=Affine.identity())
    (tmp_path / "w.tfw").write_text("0.5\n0\n0\n-0.5\n1000.25\n1999.75\n")
    with rasterio.open(predict(bare, tmp_path, model=echo_model(), **QUICK).paths["landcover"]) as got:
        assert got.transform == Affine(0.5, 0, 1000, 0, -0.5, 2000)


def test_a_stale_sidecar_goes_with_the_raster_it_described(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(30, 30))
    (tmp_path / "s_landcover.tif").write_text("old")
    (tmp_path / "s_landcover.tif.aux.xml").write_text("<PAMDataset/>")
    predict(scene, tmp_path, model=echo_model(), overwrite=True, **QUICK)
    assert "GDALRasterAttributeTable" in (tmp_path / "s_landcover.tif.aux.xml").read_text()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_types(tmp_path, class_values, dtype):
    values = class_values(80, 90).astype(dtype)
    if dtype == "float32":
        values[3, 4] = np.nan
    scene = write_raster(tmp_path / "s.tif", values)
    result = predict(scene, tmp_path, model=echo_model(dtype=dtype), **QUICK)
    np.testing.assert_array_equal(read(result.paths["landcover"]), np.nan_to_num(values, nan=255).astype(np.uint8))


def test_another_type_is_refused_with_a_rescale_that_works(tmp_path):
    values = np.random.default_rng(0).integers(200, 3000, (1, 90, 90)).astype(np.uint16)
    scene = write_raster(tmp_path / "s.tif", values)
    with pytest.raises(ModelError, match=r"expects uint8 values, scene has uint16: pass --rescale \d+,\d+"):
        predict(scene, tmp_path, model=echo_model(), **QUICK)
    result = predict(scene, tmp_path, model=echo_model(255), rescale=(200, 3000), precision="fp32", **QUICK)
    stretched = np.rint((values[0].astype(np.float32) - 200) * np.float32(255 / 2800)).clip(0, 254)
    assert (np.abs(read(result.paths["landcover"]) - stretched) <= 1).all()


def test_another_resolution_gives_classes_on_the_scenes_own_grid(tmp_path, class_values):
    values = np.kron(class_values(50, 60), np.ones((4, 4), np.uint8))
    values[:30, :30] = 99
    scene = write_raster(tmp_path / "s.tif", values, transform=Affine(0.15, 0, 3e5, 0, -0.15, 4.3e6), nodata=99)
    echo = CountingEcho(4)
    model = Model(make_spec(resolution_m=0.6), echo)
    result = predict(
        scene, tmp_path, model=model, resolution="model", tile=32, overlap=8, confidence=tmp_path / "c.tif"
    )
    differing = read(result.paths["landcover"])[32:, 32:] != values[32:, 32:]
    assert differing.mean() < 0.01  # the corners of blobs where three classes meet
    np.testing.assert_array_equal(read(result.paths["landcover"]) == 255, values == 99)
    np.testing.assert_array_equal(read(tmp_path / "c.tif") == 255, values == 99)
    assert echo.seen < values.size / 2


def test_scores_and_confidence(tmp_path, class_values):
    values = class_values(70, 80)
    values[10:20, 10:20] = 99
    scene = write_raster(tmp_path / "s.tif", values, nodata=99)
    result = predict(
        scene, tmp_path, model=echo_model(), scores=tmp_path / "p.tif", confidence=tmp_path / "c.tif", **QUICK
    )
    with rasterio.open(result.paths["scores"]) as dataset:
        scores = dataset.read()
        assert dataset.descriptions == ("class 0", "class 1", "class 2", "class 3")
    hole = values == 99
    assert np.isnan(scores[:, hole]).all()
    np.testing.assert_allclose(scores[:, ~hole].sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(read(result.paths["confidence"]), np.where(hole, 255, 100))


@pytest.mark.parametrize("settings", [{}, {"tta": "flips"}, {"resolution": "model"}])
def test_a_temperature_changes_confidences_and_no_class(tmp_path, class_values, settings):
    scene = write_raster(tmp_path / "s.tif", class_values(70, 80))
    files = {"scores": tmp_path / "p.tif", "confidence": tmp_path / "c.tif"}
    found = []
    for temperature in (1, 20):  # of the logits 40, 0, 0, 0
        model = echo_model(temperature=temperature, resolution_m=0.6, tile=32, overlap=8)
        result = predict(scene, tmp_path, model=model, overwrite=True, **files, **QUICK, **settings)
        with rasterio.open(result.paths["scores"]) as dataset:
            scores = dataset.read()
        found.append((read(result.paths["landcover"]), read(result.paths["confidence"]), scores, result.confidence))
    (classes, sure, *_), (same_classes, less_sure, scores, less) = found
    np.testing.assert_array_equal(same_classes, classes)
    np.testing.assert_array_equal(np.round(100 * scores.max(axis=0)), less_sure)
    assert (less_sure < sure).all()
    assert less == pytest.approx(less_sure.mean() / 100, abs=0.005)
    if not settings.get("resolution"):
        assert less_sure.max() == round(100 * np.exp(2) / (np.exp(2) + 3))


def test_outputs_are_refused_before_any_work(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    (tmp_path / "s_landcover.gpkg").write_text("mine")
    echo = CountingEcho(4)
    with pytest.raises(OutputError, match="--overwrite"):
        predict(scene, tmp_path, model=Model(make_spec(), echo))
    assert echo.seen == 0
    with pytest.raises(OutputError, match="the scene itself"):
        predict(scene, scene, model=echo_model(), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.tif", "s_landcover.gpkg"]
    predict(scene, tmp_path, model=echo_model(), overwrite=True)
    assert len(geopandas.read_file(tmp_path / "s_landcover.gpkg"))


def test_every_output_folder_is_tried_before_any_work(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    (tmp_path / "file").write_text("")
    echo = CountingEcho(4)
    with pytest.raises(OutputError, match="is a file"):
        predict(scene, tmp_path, model=Model(make_spec(), echo), scores=tmp_path / "file" / "p.tif")
    assert echo.seen == 0
    assert not (tmp_path / "s_landcover.tif").exists()


def test_a_path_of_another_kind_is_refused(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    with pytest.raises(OutputError, match=r"ends in \.tif"):
        predict(scene, tmp_path / "out.gpkg", model=echo_model())


def test_gdals_temporary_folder_may_be_full_or_missing(tmp_path, class_values, monkeypatch):
    """Overviews are made in scratch files, which lie beside the results."""
    values = class_values(1100, 1100)
    scene = write_raster(tmp_path / "s.tif", values)
    monkeypatch.setenv("CPL_TMPDIR", str(tmp_path / "missing"))
    result = predict(scene, tmp_path, model=echo_model(), tile=512, polygons=False, preview=False)
    with rasterio.open(result.paths["landcover"]) as raster:
        assert raster.overviews(1)
        np.testing.assert_array_equal(raster.read(1), values)


@pytest.mark.parametrize("stage", ["predicting", "writing", "preview", "polygons"])
def test_an_interrupt_leaves_the_old_set_or_what_is_finished_of_the_new(tmp_path, class_values, stage):
    """Never an old polygon file beside a new raster."""
    scene = write_raster(tmp_path / "s.tif", class_values(300, 300))
    names = {f"s_landcover.{end}" for end in ("tif", "gpkg", "png", "qml", "sld", "json")}
    for name in names:
        (tmp_path / name).write_text("old")

    def interrupt(at, done, total):
        if at == stage and done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(scene, tmp_path, model=echo_model(), overwrite=True, reporter=Heard(interrupt))
    left = {p.name: p.read_bytes() == b"old" for p in tmp_path.iterdir() if p.is_file() and p.name != "s.tif"}
    if stage in ("predicting", "writing"):
        assert left == dict.fromkeys(names, True)
    else:
        assert left == dict.fromkeys(FINISHED_BEFORE_POLYGONS, False)
    assert stage == "predicting" or (tmp_path / ".s_landcover.geoseg").exists()


def test_polygons_that_fail_cost_nothing_else(tmp_path, class_values, monkeypatch):
    def fail(*_, **__):
        raise OutputError("cannot write polygons: no space left")

    monkeypatch.setattr("geoseg.vector.write.write_polygons", fail)
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    with pytest.raises(OutputError, match="the class raster is complete"):
        predict(scene, tmp_path, model=echo_model())
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {"s.tif"} | FINISHED_BEFORE_POLYGONS
    monkeypatch.undo()
    echo = CountingEcho(4)
    model = Model(echo_model().spec, Echo(4).eval())
    model.module.forward = echo.forward
    assert predict(scene, tmp_path, model=model, resume=True).polygons
    assert echo.seen == 0


def test_the_scene_is_read_by_one_thread_only(tmp_path, class_values, monkeypatch):
    """GDAL's datasets are not for several threads at once, also where classes go back to the scene's own grid."""
    readers = set()
    read_scene = SceneBands.read

    def spy(self, window):
        readers.add(threading.get_ident())
        return read_scene(self, window)

    monkeypatch.setattr(SceneBands, "read", spy)
    scene = write_raster(tmp_path / "s.tif", class_values(400, 400))
    predict(scene, tmp_path, model=echo_model(), resolution=1.1, tile=64, overlap=8)
    assert len(readers) == 1
    assert threading.get_ident() not in readers


def test_bands_of_several_types(tmp_path, class_values):
    """A VRT may mix them: those that are chosen count."""
    values = class_values(40, 50)
    write_raster(tmp_path / "a.tif", values)
    write_raster(tmp_path / "b.tif", values.astype(np.float32) / 7)
    band = (
        '<VRTRasterBand dataType="{}" band="{}"><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>'
        "</SimpleSource></VRTRasterBand>"
    )
    bands = band.format("Byte", 1, "a.tif") + band.format("Float32", 2, "b.tif")
    scene = tmp_path / "s.vrt"
    scene.write_text(f'<VRTDataset rasterXSize="50" rasterYSize="40">{bands}</VRTDataset>')
    result = predict(scene, tmp_path, model=echo_model(), bands=(1,), **QUICK)
    np.testing.assert_array_equal(read(result.paths["landcover"]), values)
    with pytest.raises(ModelError, match="scene has float32"):
        predict(scene, tmp_path, model=echo_model(), bands=(2,), overwrite=True, **QUICK)
    mixed = echo_model(bands=("value", "other"), dtype="float32")
    predict(scene, tmp_path, model=mixed, bands=(1, 2), overwrite=True, **QUICK)


def test_values_beyond_float32_are_missing(tmp_path):
    values = np.ones((20, 20))
    values[3] = -1.797e308
    scene = write_raster(tmp_path / "s.tif", values)
    result = predict(scene, tmp_path, model=echo_model(dtype="float32"), **QUICK)
    np.testing.assert_array_equal(read(result.paths["landcover"]) == 255, values < 0)


def test_nowhere_to_write(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        predict(scene, tmp_path / "file" / "below", model=echo_model())


def test_a_full_disk_is_told_before_work(tmp_path, class_values, monkeypatch):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.statvfs_result((0,) * 10) and type("U", (), {"free": 10})())
    with pytest.raises(OutputError, match="free"):
        predict(scene, tmp_path, model=echo_model())


class Failing(Echo):
    def forward(self, image, context=None):
        raise RuntimeError("out of luck")


def test_a_failing_network_leaves_nothing_behind(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    with pytest.raises(ModelError, match="out of luck"):
        predict(scene, tmp_path, model=Model(make_spec(), Failing(4)))
    assert [p.name for p in tmp_path.iterdir()] == ["s.tif"]


class Greedy(Echo):
    def forward(self, image, context=None):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_full_device_names_the_way_out(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    with pytest.raises(SpecError, match="lower the tile"):
        predict(scene, tmp_path, model=Model(make_spec(), Greedy(4)))


@needs_fork
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_leaves_no_final_file(tmp_path, how):
    """What is finished is kept under a hidden name, nothing has its final one."""
    bundle = save_bundle(tmp_path / "m.safetensors")
    values = np.random.default_rng(0).integers(0, 9, (30_000, 500), dtype=np.uint8)
    scene = write_raster(tmp_path / "s.tif", values)
    out, stderr = tmp_path / "out", tmp_path / "said.txt"

    def predict_and_die():
        kill_itself(lambda: bool(list(out.glob(".s_landcover.geoseg/*.seal"))), how)
        main(["predict", str(scene), "-m", str(bundle), "-o", str(out), "--tile", "256"], prog_name="geoseg")

    code = exit_code_of(predict_and_die, stderr)
    assert code == (-how if how == signal.SIGKILL else 1)
    assert not [p for p in out.glob("*") if not p.name.startswith(".")]
    if how != signal.SIGKILL:
        said = stderr.read_text()
        assert "interrupted" in said
        assert "--resume" in said
        assert "Traceback" not in said
        assert [p.name for p in out.iterdir()] == [".s_landcover.geoseg"]


def test_a_plan_counts_without_forwarding(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(1000, 1200))
    echo = CountingEcho(4)
    model = Model(make_spec(network=NetworkSpec(architecture="pointwise", multiple=32)), echo)
    plan = plan_prediction(scene, tmp_path, model=model, tile=256, overlap=32, scores=tmp_path / "p.tif")
    seen = echo.seen
    result = predict(scene, tmp_path, model=model, tile=256, overlap=32, **QUICK)
    assert plan.forwarded_px == result.forwarded_px == echo.seen - seen
    assert plan.output_bytes[str(tmp_path / "p.tif")] == 4 * 4 * 1000 * 1200
    assert not (tmp_path / "p.tif").exists()


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"tile": 8}, "tile"),
        ({"tile": 64, "overlap": 40}, "more than half"),
        ({"device": "tpu"}, "device"),
        ({"device": "cuda:77"}, "CUDA"),
        ({"rescale": (5, 5)}, "below"),
        ({"colour": 1}, "unknown setting 'colour'"),
        ({"resolution": 0.001}, "finer"),
        ({"resolution": -5}, "greater than"),
        ({"device": "cuda:99999999999999"}, "device"),
    ],
)
def test_bad_settings_get_one_line(tmp_path, class_values, setting, says):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    with pytest.raises(SpecError) as error:
        predict(scene, tmp_path, model=echo_model(), **setting)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_resolution_far_too_coarse_is_refused(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(400, 400))
    with pytest.raises(SpecError, match="64 times coarser"):
        predict(scene, tmp_path, model=echo_model(), resolution=80)


# ------------------------------------------------------------------------------------- areas, and generalised classes


def test_a_box_of_interest_is_all_that_is_read_and_written(tmp_path, class_values):
    values = class_values(200, 160)
    scene = write_raster(tmp_path / "s.tif", values)
    left, top = TRANSFORM @ (40, 30)
    right, bottom = TRANSFORM @ (120, 130)
    result = predict(scene, tmp_path, model=echo_model(), bbox=(left, bottom, right, top), preview=False)
    with rasterio.open(result.paths["landcover"]) as raster:
        assert (raster.height, raster.width) == (100, 80)
        assert raster.transform == TRANSFORM @ Affine.translation(40, 30)
        np.testing.assert_array_equal(raster.read(1), values[30:130, 40:120])
    assert result.scene_px == 8000
    frame = geopandas.read_file(result.paths["polygons"])
    assert frame.total_bounds.tolist() == pytest.approx([left, bottom, right, top])


def test_an_area_of_interest_leaves_nodata_around_it(tmp_path, class_values):
    values = class_values(200, 160)
    scene = write_raster(tmp_path / "s.tif", values)
    triangle = shapely.Polygon([TRANSFORM @ corner for corner in ((20, 20), (140, 30), (60, 170))])
    geopandas.GeoSeries([triangle], crs=UTM).to_file(tmp_path / "aoi.gpkg")
    result = predict(scene, tmp_path, model=echo_model(), aoi=tmp_path / "aoi.gpkg", **QUICK)
    with rasterio.open(result.paths["landcover"]) as raster:
        inside = rasterize([triangle], out_shape=raster.shape, transform=raster.transform) == 1
        np.testing.assert_array_equal(raster.read(1), np.where(inside, values[20:170, 20:140], 255))
    assert result.valid_px == inside.sum()


def test_generalised_raster_and_polygons_show_the_same(tmp_path, class_values):
    values = class_values(150, 120, blob=7)
    speckled = np.where(np.random.default_rng(0).random(values.shape) < 0.03, (values + 1) % 4, values).astype(np.uint8)
    scene = write_raster(tmp_path / "s.tif", speckled)
    result = predict(scene, tmp_path, model=echo_model(), min_area="8px", majority=3, preview=False)
    ids = read(result.paths["landcover"])
    frame = geopandas.read_file(result.paths["polygons"])
    burnt = rasterize(
        zip(frame.geometry, frame["class_id"], strict=True), out_shape=ids.shape, transform=TRANSFORM, fill=255
    )
    np.testing.assert_array_equal(burnt, ids)
    assert frame.area.min() >= 8 * abs(TRANSFORM.determinant) - 1e-6
    assert sum(c.pixels for c in result.classes) == ids.size
    assert [c.pixels for c in result.classes] == [(ids == k).sum() for k in range(4)]
    assert (ids != values).mean() < (speckled != values).mean() / 2


def test_filled_holes_have_no_confidence_but_no_more_than_all(tmp_path):
    values = np.zeros((60, 60), np.uint8)
    values[30:32, 30:32] = 9
    scene = write_raster(tmp_path / "s.tif", values, nodata=9)
    result = predict(scene, tmp_path, model=echo_model(), fill_holes="5px", preview=False)
    frame = geopandas.read_file(result.paths["polygons"])
    assert len(frame) == 1
    assert 0.9 < frame["confidence"][0] <= 1
    assert (read(result.paths["landcover"]) == 0).all()


def test_polygons_of_a_prediction_can_be_simplified(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(100, 100))
    names = tuple(c.name for c in echo_model().spec.classes)
    settings = {"simplify": "1px", "smooth": True, "classes": names[1:3], "to_crs": "EPSG:4326"}
    result = predict(scene, tmp_path, model=echo_model(), preview=False, **settings)
    frame = geopandas.read_file(result.paths["polygons"])
    assert set(frame["class"]) == set(names[1:3])
    assert frame.crs.to_epsg() == 4326
    assert (read(result.paths["landcover"]) == class_values(100, 100)).all()


# ------------------------------------------------------------------------------------------ what programs see at once


def test_polygons_come_in_several_formats_at_once_all_with_confidence(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 50))
    result = predict(scene, tmp_path, model=echo_model(), preview=False, format=["gpkg", ".SHP", "parquet", "shp"])
    names = {kind: path.name for kind, path in result.paths.items() if kind.startswith("polygons")}
    assert names == {
        "polygons": "s_landcover.gpkg",
        "polygons_shp": "s_landcover.shp",
        "polygons_parquet": "s_landcover.parquet",
    }
    assert {path.suffix for path in tmp_path.glob("s_landcover.*")} >= {".shx", ".dbf", ".prj", ".cpg", ".qix"}
    for kind in names:
        path = result.paths[kind]
        frame = geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)
        assert len(frame) == result.polygons
        assert (frame["confidence"] == 1).all()
    assets = json.loads(result.paths["item"].read_text())["assets"]
    assert assets["polygons_shp"]["href"] == "./s_landcover.shp"


def test_another_format_is_made_when_a_run_is_resumed(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 50))
    first = predict(scene, tmp_path, model=echo_model(), preview=False)
    again = predict(scene, tmp_path, model=echo_model(), preview=False, format="fgb,geojson", resume=True)
    assert again.paths["polygons"].suffix == ".fgb"
    assert (read(again.paths["landcover"]) == read(first.paths["landcover"])).all()
    done = predict(scene, tmp_path, model=echo_model(), preview=False, format="fgb,geojson", resume=True)
    assert (done.forwarded_px, done.polygons) == (0, first.polygons)


def test_a_format_that_cannot_hold_the_result_keeps_no_other_from_its_file(tmp_path):
    scene = write_raster(tmp_path / "s.tif", np.full((40, 50), 3, np.uint8), nodata=3)
    with pytest.raises(OutputError, match=r"tiles cannot be empty.*; the class raster is complete"):
        predict(scene, tmp_path, model=echo_model(), preview=False, format=["pmtiles", "fgb"])
    assert len(geopandas.read_file(tmp_path / "s_landcover.fgb")) == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpgk", "did you mean '.gpkg'"),
        ("dwg", "there are .gpkg, .shp"),
        ("json", "the STAC Item ends in .json: ask for the format geojson"),
    ],
)
def test_an_unknown_format_is_refused_before_any_work(tmp_path, class_values, name, hint):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 50))
    with pytest.raises(OutputError, match=re.escape(hint)):
        predict(scene, tmp_path, model=echo_model(), format=name)
    assert [path.name for path in tmp_path.iterdir()] == ["s.tif"]


def test_results_open_styled_and_described(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(80, 90), nodata=3)
    result = predict(scene, tmp_path, model=echo_model(), embed_style=True)
    with sqlite3.connect(result.paths["polygons"]) as database:
        ((table, column, qml, is_default),) = database.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchall()
    assert (table, is_default) == ("s_landcover", 1)
    assert column == pyogrio.read_info(result.paths["polygons"], layer="s_landcover")["geometry_name"]
    beside = result.paths["style"].read_text()
    for c in echo_model().spec.classes:
        assert c.name in qml
        assert c.name in beside
        assert c.color in result.paths["sld"].read_text()
    assert cog_validate(result.paths["landcover"], strict=True)[0]
    item = json.loads(result.paths["item"].read_text())
    assert item["id"] == "s_landcover"
    assert item["assets"]["landcover"]["href"] == "./s_landcover.tif"
    assert item["assets"]["polygons"]["href"] == "./s_landcover.gpkg"
    assert item["properties"]["mlm:name"] == echo_model().spec.name
    with rasterio.open(result.paths["landcover"]) as raster:
        ids = raster.read(1)
        assert float(raster.tags(1)["STATISTICS_MEAN"]) == pytest.approx(ids[ids != 255].mean())
    rows = ElementTree.parse(tmp_path / "s_landcover.tif.aux.xml").findall(".//Row")
    counts = {int(row[0].text): int(row[1].text) for row in rows}
    assert counts == {c.id: int((ids == c.id).sum()) for c in echo_model().spec.classes}


def test_no_item_on_demand(tmp_path, class_values):
    result = predict(write_raster(tmp_path / "s.tif", class_values(40, 40)), tmp_path, model=echo_model(), stac=False)
    assert "item" not in result.paths
    assert not (tmp_path / "s_landcover.json").exists()


@pytest.mark.parametrize("tag", ["2021:07:04 12:30:00", "", "someday"])
def test_an_item_tells_when_the_scene_was_taken(tmp_path, class_values, tag):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    if tag:
        with rasterio.open(scene, "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=tag)
    os.utime(scene, (86400, 86400))
    result = predict(scene, tmp_path, model=echo_model(), **QUICK)
    taken = json.loads(result.paths["item"].read_text())["properties"]["datetime"]
    assert taken == ("2021-07-04T12:30:00Z" if tag.startswith("2021") else "1970-01-02T00:00:00Z")


def test_scores_in_percent(tmp_path, class_values):
    values = class_values(60, 70)
    scene = write_raster(tmp_path / "s.tif", values, nodata=3)
    wanted = {"scores": tmp_path / "scores.tif", "scores_type": "uint8"}
    predict(scene, tmp_path, model=echo_model(), **wanted, **QUICK)
    with rasterio.open(wanted["scores"]) as raster:
        scores = raster.read()
        assert raster.nodata == 255
        assert raster.dtypes == ("uint8",) * len(scores)
        assert all(text.endswith(", percent") for text in raster.descriptions)
    valid = values != 3
    assert (scores[:, ~valid] == 255).all()
    np.testing.assert_array_equal(scores[:, valid].argmax(axis=0), values[valid])
    np.testing.assert_allclose(scores[:, valid].sum(axis=0), 100, atol=2)


@pytest.mark.parametrize("settings", [{"classes": ("lava",)}, {"to_crs": "EPSG:99999999"}])
def test_polygons_that_could_not_be_made_are_refused_before_work(tmp_path, class_values, settings):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    model = Model(echo_model().spec, CountingEcho(4))
    with pytest.raises(SpecError, match=next(iter(settings))):
        predict(scene, tmp_path / "out", model=model, **settings)
    assert model.module.seen == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("multiple", [1, 7, 32, 256, 300, 511, 512, 1000, 1024])
def test_fitting_windows_to_little_memory_ends_at_any_stride(tmp_path, monkeypatch, multiple):
    scene = write_raster(tmp_path / "scene.tif", np.zeros((60, 70), np.uint8))
    monkeypatch.setattr("geoseg.inference.windows.free_bytes", lambda _device: 0)
    monkeypatch.setattr("geoseg.inference.windows.activation_bytes", lambda *_: 1)
    network = NetworkSpec(architecture="pointwise", multiple=multiple)
    plan = plan_prediction(scene, model=echo_model(network=network, tile=16384), device="cpu")
    assert plan.settings["tile"] % multiple == 0
    assert plan.settings["tile"] < 2 * max(256, multiple)
    assert any("has little free memory" in line for line in plan.notices)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_gives_no_numbers_ends_the_run_and_leaves_nothing(tmp_path, value):
    class Broken(Echo):
        def forward(self, image, context=None):
            logits = super().forward(image)
            logits[-1, -1, -1, -1] = value
            return logits

    scene = write_raster(tmp_path / "scene.tif", np.zeros((200, 70), np.uint8))
    with pytest.raises(ModelError, match="the network gives NaN or infinity"):
        predict(scene, tmp_path / "out", model=Model(make_spec(tile=64), Broken(4).eval()), device="cpu")
    assert not list((tmp_path / "out").glob("*.tif"))


def test_values_beyond_all_numbers_are_no_first_class(tmp_path):
    values = np.zeros((1, 60, 70), np.float32)
    values[0, 30:, 30:] = -3e38
    scene = write_raster(tmp_path / "scene.tif", values)
    spec = make_spec(dtype="float32", normalization=NormalizationSpec(mean=(0.0,), std=(0.1,)))
    model = save_bundle(tmp_path / "m.safetensors", **spec.model_dump(include={"dtype", "normalization"}))
    with pytest.raises(ModelError, match="pass them as --nodata"):
        predict(scene, tmp_path / "out", model=model, device="cpu")
    predict(scene, tmp_path / "out", model=model, device="cpu", nodata=-3e38)


@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "fpn", "encoder": "resnet18", "arguments": {"upsampling": 2}},
        {"architecture": "unet", "encoder": "resnet18", "arguments": {"decoder_use_norm": "layernorm"}},
    ],
)
def test_a_network_that_takes_no_such_windows_says_so(tmp_path, network):
    scene = write_raster(tmp_path / "scene.tif", np.zeros((3, 60, 70), np.uint8))
    model = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"), network=NetworkSpec(**network))
    with pytest.raises(ModelError, match=r"does not take windows of \d+ x \d+ pixels: .*: check network\.multiple"):
        predict(scene, tmp_path / "out", model=model, device="cpu")
    assert not list((tmp_path / "out").glob("*.tif"))
