"""Awkward files from other projects' test suites: each ends in a sound result or in one clear line."""

import csv
import resource
import time

import geopandas
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from support.models import save_bundle
from support.rasters import SHARED_DATA, needs_shared_data

from geoseg.cli import main
from geoseg.core.errors import SceneError
from geoseg.geo.grid import Window
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands

FOLDER = SHARED_DATA / "tough"
FILES = list(csv.DictReader((FOLDER / "manifest.csv").open())) if FOLDER.is_dir() else []
SECONDS, BYTES = 120, 3 * 2**30
LARGE = {"gd_bug1488.tif", "gd_arcgis93_geodataxform_gcp.tif", "ms_nan.tif", "rc_image_web_z5_z11.tif"}

pytestmark = [needs_shared_data, pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")]

DTYPES = {"uint8": "uint8", "float32": "float32", "float64": "float32"}


def fitting_bundle(path, scene):
    """A bundle with random weights for a scene's own bands and type."""
    bands = [i for i, color in enumerate(scene.info.colors, 1) if color != "alpha"][:16]
    names = tuple(f"band {i}" for i in bands)
    return save_bundle(path, bands=names, dtype=DTYPES.get(scene.info.dtypes[0], "uint16")), ",".join(map(str, bands))


def run(*arguments):
    started = time.monotonic()
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert time.monotonic() - started < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < BYTES
    return result


def check_refusal(result, out):
    assert result.exit_code == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    left = [path.suffix for path in out.iterdir()] if out.exists() else []
    assert not left or ("the class raster is complete" in last and set(left) <= {".tif", ".xml", ".png"})


def check_sound(path, scene_path, polygons):
    with rasterio.open(path) as got, rasterio.open(scene_path) as given:
        assert got.shape == given.shape
        assert got.transform == given.transform
        assert got.crs == given.crs
        assert len(got.gcps[0]) == len(given.gcps[0])
        if got.width * got.height > 2e7:
            return
        ids = got.read(1)
    frame = geopandas.read_file(polygons)
    assert frame.geometry.is_valid.all()
    with Scene.open(scene_path) as scene:
        scene = SceneBands.select(scene, [i for i, color in enumerate(scene.info.colors, 1) if color != "alpha"][:16])
        image, valid = scene.read(Window(0, 0, *ids.shape))
    with rasterio.open(scene_path) as given:
        if given.dtypes[0] == "uint8" and "alpha" not in {color.name for color in given.colorinterp}:
            np.testing.assert_array_equal(valid, given.dataset_mask() > 0)
    assert np.isfinite(image[:, valid]).all()
    np.testing.assert_array_equal(ids != 255, valid)
    assert bool(len(frame)) == bool(valid.any())


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row["file"], marks=[pytest.mark.slow] if row["file"] in LARGE else []) for row in FILES],
)
def test_predict(row, tmp_path):
    path, out = FOLDER / row["file"], tmp_path / "out"
    result = run("predict", path, "-o", out)  # the default model: three 8-bit bands
    if result.exit_code:
        check_refusal(result, out)
    else:
        check_sound(next(out.glob("*.tif")), path, next(out.glob("*.gpkg")))
    try:
        with Scene.open(path) as scene:
            bundle, bands = fitting_bundle(tmp_path / "m.safetensors", scene)
    except SceneError:
        assert row["expected"] != "ok"
        return
    out = tmp_path / "fitting"
    result = run("predict", path, "-m", bundle, "--bands", bands, "-o", out)
    if row["expected"] == "ok" or not result.exit_code:
        assert result.exit_code == 0, result.stderr
        assert row["expected"] != "error"
        check_sound(next(out.glob("*.tif")), path, next(out.glob("*.gpkg")))
    else:
        check_refusal(result, out)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["file"]) for row in FILES])
def test_info(row):
    result = run("info", FOLDER / row["file"])
    assert result.exit_code in (0, 1)
    assert result.exit_code == 0 or result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row["file"], marks=[pytest.mark.slow] if row["file"] in LARGE else []) for row in FILES],
)
def test_vectorize(row, tmp_path):
    out = tmp_path / "out.gpkg"
    result = run("vectorize", FOLDER / row["file"], "-o", out)
    if result.exit_code:
        assert result.stderr.count("\n") == 1
        assert not list(tmp_path.iterdir())
    else:
        assert geopandas.read_file(out).geometry.is_valid.all()
