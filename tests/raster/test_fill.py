"""Fill that no tag tells of: found along the frame, told, and left out with `--nodata auto` in any window alike."""

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from support.models import echo_model, save_bundle
from support.rasters import write_raster

from geoseg.cli import main
from geoseg.commands.info import describe
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.geo.grid import Window
from geoseg.raster.fill import Fill, find_fill, frame_windows, trace_fill
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands

QUICK = {"polygons": False, "preview": False, "precision": "fp32"}
HEIGHT, WIDTH = 300, 420


def inside(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Where a turned image lies in its raster."""
    row, col = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    return (row + 0.3 * col > 0.2) & (row + 0.3 * col < 1.1) & (col - 0.3 * row > 0.02) & (col - 0.3 * row < 0.75)


def imagery(bands: int = 3, low: int = 20, high: int = 230) -> np.ndarray:
    """Patches of noise (bands, HEIGHT, WIDTH) that touch neither end of 8 bits."""
    random = np.random.default_rng(0)
    patches = np.kron(random.integers(low, high, (bands, HEIGHT // 30, WIDTH // 30)), np.ones((30, 30)))
    return np.clip(patches + random.normal(0, 6, (bands, HEIGHT, WIDTH)), max(low - 12, 0), high + 12)


def opened(path, values: np.ndarray, **profile) -> Scene:
    scene = Scene.open(write_raster(path, values, **profile))
    scene = SceneBands.select(scene, range(1, len(values) + 1))
    return scene


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        *(("uint8", 0), ("uint8", 255), ("uint16", 0), ("uint16", 65535), ("int16", -9999), ("float32", -9999)),
        *(("uint16", 1), ("uint16", 9999), ("uint16", 65534)),
    ],
)
def test_a_constant_around_an_image_is_fill(tmp_path, dtype, value):
    values = np.where(inside(), imagery(), value).astype(dtype)
    values[:, 140:180, 200:240] = value  # as large as a roof, and no fill
    with opened(tmp_path / "s.tif", values) as scene:
        fill = scene.find_fill()
        assert (fill.value, fill.is_exact) == (value, True)
        assert 0.7 < fill.frame_share < 1
        scene = scene.without(fill)
        valid = scene.read(Window(0, 0, HEIGHT, WIDTH))[1]
    assert valid[140:180, 200:240].all()
    assert (valid != inside()).mean() < 1e-4


def test_values_near_fill_are_no_blur_where_all_there_is_lies_near(tmp_path):
    values = np.where(inside(), imagery(1) // 60 + 1, 0).astype(np.uint8)  # classes 1 to 4
    with opened(tmp_path / "s.tif", values) as scene:
        fill = scene.find_fill()
        assert (fill.value, fill.is_exact) == (0, True)
        scene = scene.without(fill)
        valid = scene.read(Window(0, 0, HEIGHT, WIDTH))[1]
    assert (valid != inside()).mean() < 1e-4


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_what_jpeg_leaves_of_fill_is_fill_too(tmp_path, value, photometric):
    values = np.where(inside(), imagery(), value).astype(np.uint8)
    with opened(tmp_path / "s.tif", values, compress="jpeg", photometric=photometric) as scene:
        fill = scene.find_fill()
        assert (fill.value, fill.is_exact) == (value, False)
        scene = scene.without(fill)
        valid = scene.read(Window(0, 0, HEIGHT, WIDTH))[1]
    assert valid[inside()].mean() > 0.999
    assert valid[~inside()].mean() < 0.06


def test_fill_that_is_blurred_all_over_is_found_near_its_value():
    random = np.random.default_rng(1)
    frame = [(random.integers(0, 3, (3, 4, 64), dtype=np.uint8), np.ones((4, 64), bool)) for _ in range(4)]
    assert find_fill(frame, imagery().astype(np.uint8).reshape(3, -1), is_lossy=False) == Fill(0.0, 2, 12, 1.0)


@pytest.mark.parametrize("name", ["plain", "snow", "dark water", "roof", "masked", "tagged", "bands differ"])
def test_what_is_no_fill(tmp_path, name):
    values, profile = imagery(), {}
    if name == "snow":  # brighter and brighter, up to saturation
        values = np.clip(np.linspace(150, 400, WIDTH) + np.random.default_rng(2).normal(0, 4, values.shape), 0, 255)
    elif name == "dark water":
        values[:, :, :200] = np.random.default_rng(2).integers(0, 12, (3, HEIGHT, 200))
    elif name == "roof":
        values[:, :30, 100:160] = 255
    elif name == "masked":
        values, profile = np.where(inside(), values, 0), {"mask": inside()}
    elif name == "tagged":
        values, profile = np.where(inside(), values, 0), {"nodata": 0}
    elif name == "bands differ":
        values = np.where(inside(), values, np.array([0, 50, 0])[:, None, None])
    with opened(tmp_path / "s.tif", values.astype(np.uint8), **profile) as scene:
        assert scene.find_fill() is None


@pytest.mark.parametrize("value", [0, 255])
def test_a_scene_of_nothing_but_fill_is_fill(tmp_path, value):
    with opened(tmp_path / "s.tif", np.full_like(imagery(), value).astype(np.uint8)) as scene:
        fill = scene.find_fill()
        assert (fill.value, fill.frame_share) == (value, 1)
        scene = scene.without(fill)
        assert not scene.read(Window(0, 0, HEIGHT, WIDTH))[1].any()


@pytest.mark.parametrize("value", [0, 255, 90])
def test_a_small_scene_read_at_once_has_the_fill_that_its_parts_show(tmp_path, monkeypatch, value):
    values = np.where(inside(), imagery(), value)[:, ::2, ::2].astype(np.uint8)
    with opened(tmp_path / "s.tif", values) as scene:
        found = scene.find_fill()
        monkeypatch.setattr("geoseg.raster.scene_bands._READ_AT_ONCE_PX", 0)
        assert scene.find_fill() == found
    assert (found is None) == (value == 90)


def test_windows_along_the_frame_are_few_and_inside():
    for height, width in ((1, 1), (3, 900), (10**6, 10**6)):
        windows = frame_windows(height, width, 64)
        assert len(windows) <= 64
        assert all(window == window.clip(height, width) and window.pixels for window in windows)


@pytest.mark.parametrize("shape", [(40, 55), (1030, 2100)])
def test_fill_is_the_same_in_any_window(shape):
    random = np.random.default_rng(3)
    height, width = shape
    values = np.where(inside(height, width), random.integers(1, 200, shape), 0)
    values[height // 2, : width // 3] = 0  # a scratch from the frame inwards
    image = values[None].astype(np.uint8)
    reads: list[Window] = []

    def read(window: Window) -> np.ndarray:
        reads.append(window)
        return image[:, *window.slices]

    found = trace_fill(Fill(0.0, 0, 0, 0.5), *shape, read)
    whole = found.mask(Window(0, 0, *shape), image)
    assert whole[~inside(*shape)].mean() > 0.99
    assert sum(window.pixels for window in reads) <= height * width
    for _ in range(20):
        row, col = random.integers(height), random.integers(width)
        window = Window(int(row), int(col), 70, 90).clip(*shape)
        np.testing.assert_array_equal(found.mask(window, image[:, *window.slices]), whole[window.slices])


SWATH = np.arange(WIDTH) > 150 - 0.3 * np.arange(HEIGHT)[:, None]
"""Where a satellite has seen a scene."""


def filled(tmp_path, value: int = 255):
    """A scene of class ids 0 to 3 beside fill."""
    ids = np.kron(np.random.default_rng(4).integers(0, 4, (HEIGHT // 10, WIDTH // 10)), np.ones((10, 10)))
    return write_raster(tmp_path / "s.tif", np.where(SWATH, ids, value).astype(np.uint8)), ids


@pytest.mark.parametrize("settings", [{"tile": 64}, {"tile": 128, "overlap": 16}])
def test_auto_leaves_fill_out_however_the_scene_is_cut(tmp_path, settings):
    path, ids = filled(tmp_path)
    result = predict(path, tmp_path, model=echo_model(), nodata="auto", **QUICK, **settings)
    with rasterio.open(tmp_path / "s_landcover.tif") as made:
        np.testing.assert_array_equal(made.read(1), np.where(SWATH, ids, 255))
    assert result.settings["nodata"] == "auto"
    assert any("--nodata auto: a constant of 255 in all bands takes" in line for line in result.notices)


def test_fill_is_told_with_the_way_out(tmp_path):
    path, _ = filled(tmp_path)
    (line,) = [line for line in plan_prediction(path, model=echo_model()).notices if "constant" in line]
    assert "a constant of 255 in all bands takes" in line
    assert "pass --nodata 255 or --nodata auto" in line
    for nodata in (255, None):
        told = plan_prediction(path, model=echo_model(), nodata=nodata).notices
        assert any("--nodata 255" in line for line in told) == (nodata is None)
    bundle = save_bundle(tmp_path / "m.safetensors")
    assert "pass --nodata 255" in describe(path, bundle)["fill"]
    assert describe(write_raster(tmp_path / "p.tif", imagery(1).astype(np.uint8)), bundle)["fill"] is None


def test_auto_without_fill_is_told(tmp_path):
    path = write_raster(tmp_path / "p.tif", imagery(1).astype(np.uint8))
    told = plan_prediction(path, model=echo_model(), nodata="auto").notices
    assert any("--nodata auto: none" in line for line in told)


def test_the_option_takes_a_number_or_auto(tmp_path):
    path, _ = filled(tmp_path)
    bundle = save_bundle(tmp_path / "m.safetensors")
    run = CliRunner().invoke(main, ["predict", str(path), "-m", str(bundle), "--nodata", "auto", "--dry-run"])
    assert (run.exit_code, "counts as nodata" in run.output) == (0, True)
    run = CliRunner().invoke(main, ["predict", str(path), "-m", str(bundle), "--nodata", "all"])
    assert run.exit_code == 2
    assert "neither a number nor auto" in run.output


@pytest.mark.parametrize("value", ["300", "-1", "1.5", "nan", "inf"])
def test_a_value_that_no_pixel_can_have_is_refused(tmp_path, value):
    path, _ = filled(tmp_path)
    bundle = save_bundle(tmp_path / "m.safetensors")
    run = CliRunner().invoke(main, ["predict", str(path), "-m", str(bundle), "--nodata", value, "--dry-run"])
    assert run.exit_code == 1
    assert "no uint8 value can be that" in run.output
