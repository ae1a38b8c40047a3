"""Reads that fail in part: moved, cut and damaged files, and servers that stumble. All of a raster, or one line."""

import os
import re
import shutil
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow
from support.models import class_specs, echo_model
from support.rasters import write_raster
from support.stumbling_server import FAULTS, stumbling_server

from geoseg.commands.evaluate import evaluate
from geoseg.commands.predict import predict
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import GeosegError, LabelError, OutputError, SceneError
from geoseg.data.labels import LabelSource, open_labels
from geoseg.geo.georef import grid_of
from geoseg.geo.grid import Window
from geoseg.geo.vector_files import _bound_connections
from geoseg.raster.gdal import gdal_settings
from geoseg.raster.reading import open_dataset, server_options, unreadable
from geoseg.raster.reading.cells import Blocks, cells, rows
from geoseg.raster.reading.dataset import _Target
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands

SIDE = 1024
LAYOUTS = {
    "none_tiled.tif": {"tiled": True},
    "none_striped_by_band.tif": {"interleave": "band"},
    "deflate_tiled.tif": {"compress": "deflate", "tiled": True},
    "deflate_striped.tif": {"compress": "deflate", "interleave": "pixel"},
    "deflate_tiled_by_band.tif": {"compress": "deflate", "tiled": True, "interleave": "band"},
    "lzw_striped.tif": {"compress": "lzw", "interleave": "pixel"},
    "zstd_tiled.tif": {"compress": "zstd", "tiled": True},
    "jpeg_tiled.tif": {"compress": "jpeg", "tiled": True, "interleave": "pixel"},
}
QUICK_FAULTS = "503", "cut"
QUICK = {"polygons": False, "preview": False, "stac": False}


def noise(side, bands=3):
    return np.random.default_rng(0).integers(1, 4, (bands, side, side), dtype=np.uint8)


def source(file, band, place=None, side=SIDE // 2, number=None):
    col, row = place or (0, 0)
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{escape(file)}</SourceFilename>'
        f"<SourceBand>{number or band}</SourceBand>"
        f'<SourceProperties RasterXSize="{side}" RasterYSize="{side}" DataType="Byte" BlockXSize="{side}" '
        f'BlockYSize="1"/><SrcRect xOff="0" yOff="0" xSize="{side}" ySize="{side}"/>'
        f'<DstRect xOff="{col}" yOff="{row}" xSize="{side}" ySize="{side}"/></SimpleSource>'
    )


def write_vrt(path, bands, side=SIDE, nodata=None, extra=""):
    """A VRT of bands, each a list of sources."""
    told = "" if nodata is None else f"<NoDataValue>{nodata}</NoDataValue>"
    colors = ["Gray"] if len(bands) < 3 else ["Red", "Green", "Blue", "Alpha"]
    text = "".join(
        f'<VRTRasterBand dataType="Byte" band="{i}"><ColorInterp>{color}</ColorInterp>{told}{"".join(sources)}'
        "</VRTRasterBand>"
        for i, (color, sources) in enumerate(zip(colors, bands, strict=False), 1)
    )
    path.write_text(
        f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>EPSG:32617</SRS>'
        f"<GeoTransform>300000,0.6,0,4300000,0,-0.6</GeoTransform>{text}{extra}</VRTDataset>"
    )
    return path


def write_mosaic(folder, bands=3, nodata=None):
    """A mosaic of four tiles, and its pixels."""
    (folder / "t").mkdir()
    image, half = noise(SIDE, bands), SIDE // 2
    places = {f"t/{row}{col}.tif": (col * half, row * half) for row in (0, 1) for col in (0, 1)}
    for name, (col, row) in places.items():
        write_raster(folder / name, image[:, row : row + half, col : col + half], compress="deflate")
    sources = [[source(name, band, place) for name, place in places.items()] for band in range(1, bands + 1)]
    return write_vrt(folder / "mosaic.vrt", sources, nodata=nodata), image


def halve(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def write_masked(path, valid_px):
    """A raster whose mask lies in a file beside it, and says data of the first columns."""
    mask = np.where(np.arange(SIDE) < valid_px, 255, 0).astype(np.uint8)
    beside = write_raster(path.with_name(f"{path.name}.msk"), np.broadcast_to(mask, (SIDE, SIDE))[None], driver="GTiff")
    with rasterio.open(beside, "r+") as raster:
        raster.update_tags(INTERNAL_MASK_FLAGS_1=2)  # one mask for all bands
    return write_raster(path, noise(SIDE))


def read_all(path):
    with gdal_settings(), Scene.open(path) as scene:
        scene = SceneBands.select(scene, range(1, min(3, len(scene.info.colors)) + 1))
        return scene.read(Window(0, 0, scene.height, scene.width))


@pytest.fixture
def many_readers(monkeypatch):
    """Three readers that share all but the smallest windows."""
    monkeypatch.setattr("geoseg.raster.reading.readers.processors", lambda: 3)
    monkeypatch.setattr("geoseg.raster.reading.dataset._SHARED_PX", 2**14)


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_RETRY_DELAY", "0.01")


# ------------------------------------------------------------------------------------------------------- whole reads


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_several_readers_read_is_what_one_reads(tmp_path, many_readers, layout):
    path = write_raster(tmp_path / layout, noise(700), **LAYOUTS[layout] | tile_sizes(layout))
    with rasterio.open(path) as dataset:
        expected = dataset.read()
    with open_dataset(path) as dataset:
        for window in (RasterioWindow(0, 0, 700, 700), RasterioWindow(13, 250, 600, 301)):
            rows, cols = window.toslices()
            np.testing.assert_array_equal(dataset.read([1, 2, 3], window=window), expected[:, rows, cols])
            np.testing.assert_array_equal(dataset.read(2, window=window), expected[1, rows, cols])
            assert (dataset.read_masks(1, window=window) == 255).all()


def tile_sizes(layout):
    return {"blockxsize": 128, "blockysize": 128} if "tiled" in layout else {}


def test_a_block_is_read_by_its_reader_whoever_asks(tmp_path, many_readers, monkeypatch):
    image, asked = noise(1300), []
    path = write_raster(tmp_path / "scene.tif", image, tiled=True, blockxsize=256, blockysize=256)
    windows = [RasterioWindow(col, row, 200, 220) for row in (0, 500, 1000) for col in (30, 400, 1000)]
    read = _Target.read

    def noted(self, part, bands, handle):
        asked.append((part.row // 512, part.col // 512, handle))
        read(self, part, bands, handle)

    monkeypatch.setattr(_Target, "read", noted)
    with open_dataset(path) as dataset, ThreadPoolExecutor(4) as pool:
        for window, values in zip(
            windows, pool.map(lambda one: dataset.read([1, 2, 3], window=one), windows), strict=True
        ):
            rows, cols = window.toslices()
            np.testing.assert_array_equal(values, image[:, rows, cols])
        for window in windows:
            dataset.read([1, 2, 3], window=window)
        handles = {(row, col): {id(one) for r, c, one in asked if (r, c) == (row, col)} for row, col, _ in asked}
    assert len(handles) == 9
    assert all(len(one) == 1 for one in handles.values())


def test_small_rasters_are_read_by_those_who_ask(tmp_path, many_readers, monkeypatch):
    path = write_raster(tmp_path / "tile.tif", noise(300), tiled=True, blockxsize=128, blockysize=128)
    monkeypatch.setattr("geoseg.raster.reading.readers.run", None)
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.read([1, 2, 3], window=RasterioWindow(0, 0, 300, 300)), noise(300))


@pytest.mark.parametrize("cell", [cells(Blocks(256, 256), 5000), cells(Blocks(1, 5000), 5000), rows(5000)])
def test_cells_cover_a_window_once_and_a_block_falls_to_one_reader(cell):
    window = Window(300, 700, 1500, 2100)
    met = np.zeros((window.height, window.width), int)
    for reader, part in cell.cut(window, 3):
        met[part.shift(-window.row, -window.col).slices] += 1 + reader
        assert reader == (part.row // cell.height + part.col // cell.width) % 3
    assert met.min() >= 1
    assert sum(part.pixels for _, part in cell.cut(window, 3)) == window.pixels


def test_a_window_wider_than_it_is_high_is_shared(tmp_path, many_readers):
    path, image = write_mosaic(tmp_path)
    values, valid = read_all(path)
    np.testing.assert_array_equal(values, image)
    assert valid.all()


# ------------------------------------------------------------------------------------------- files moved, cut, damaged


@pytest.mark.parametrize("nodata", [None, 0])
@pytest.mark.parametrize("threads", ["1", "ALL_CPUS"])
def test_a_moved_source_of_a_vrt_is_an_error(tmp_path, monkeypatch, many_readers, nodata, threads):
    monkeypatch.setenv("VRT_NUM_THREADS", threads)
    monkeypatch.setenv("GDAL_NUM_THREADS", threads)
    path, _ = write_mosaic(tmp_path, nodata=nodata)
    (tmp_path / "t" / "10.tif").unlink()
    with pytest.raises(SceneError, match=r"t/10\.tif: No such file") as error:
        predict(path, tmp_path / "out", model=echo_model(bands=("red", "green", "blue")), **QUICK)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_moved_source_of_a_vrt_is_an_error_every_time(tmp_path, many_readers):
    path, _ = write_mosaic(tmp_path)
    with gdal_settings(), open_dataset(path) as dataset:
        (tmp_path / "t" / "10.tif").write_text("moved meanwhile")
        for window in 6 * [RasterioWindow(0, 0, SIDE, SIDE), RasterioWindow(0, 600, 100, 100)]:
            with pytest.raises(RasterioIOError, match=r"t/10\.tif"):
                dataset.read([1, 2, 3], window=window)


def test_a_truncated_source_of_a_vrt_of_vrts_is_named(tmp_path, many_readers):
    path, _ = write_mosaic(tmp_path)
    write_vrt(tmp_path / "outer.vrt", [[source(path.name, band, side=SIDE)] for band in (1, 2, 3)])
    halve(tmp_path / "t" / "11.tif")
    with pytest.raises(SceneError, match=r"t/11\.tif"):
        read_all(path)
    with pytest.raises(SceneError, match=r"11\.tif"):
        read_all(tmp_path / "outer.vrt")


def test_a_moved_source_of_class_rasters_and_labels_is_an_error(tmp_path, many_readers):
    path, _ = write_mosaic(tmp_path, bands=1, nodata=255)
    whole = write_raster(tmp_path / "whole.tif", noise(SIDE, 1))
    (tmp_path / "t" / "01.tif").unlink()
    with pytest.raises(SceneError, match=r"t/01\.tif"):
        vectorize(path, tmp_path / "out.gpkg")
    with pytest.raises(SceneError, match=r"t/01\.tif"):
        evaluate(path, whole)
    with pytest.raises((SceneError, LabelError), match=r"t/01\.tif"):
        evaluate(whole, path)
    with rasterio.open(whole) as dataset:
        grid = grid_of(dataset)
    with gdal_settings(), pytest.raises(LabelError, match=r"t/01\.tif"):
        open_labels(LabelSource(path, grid, tuple(class_specs(4)), whole))
    assert not (tmp_path / "out.gpkg").exists()


@pytest.mark.parametrize("gone", ["mask", "alpha"])
def test_a_mask_or_alpha_band_that_is_gone_is_an_error(tmp_path, gone):
    write_raster(tmp_path / "image.tif", noise(SIDE))
    bands = [[source("image.tif", band, side=SIDE)] for band in (1, 2, 3)]
    mask = f'<MaskBand><VRTRasterBand dataType="Byte">{source("gone.tif", 1, side=SIDE)}</VRTRasterBand></MaskBand>'
    if gone == "alpha":
        bands.append([source("gone.tif", 1, side=SIDE)])
    path = write_vrt(tmp_path / "scene.vrt", bands, extra=mask if gone == "mask" else "")
    with pytest.raises(SceneError, match=r"gone\.tif"):
        read_all(path)


def test_a_mask_that_a_source_has_lost_is_an_error(tmp_path):
    image = write_masked(tmp_path / "image.tif", valid_px=SIDE // 4)
    path = tmp_path / "scene.vrt"
    rasterio.shutil.copy(image, path, driver="VRT")
    assert not read_all(path)[1].all()
    Path(f"{image}.msk").unlink()
    with pytest.raises(SceneError, match=r"image\.tif has no mask any more"):
        read_all(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_mask_file_is_an_error(tmp_path, share):
    path = write_masked(tmp_path / "scene.tif", valid_px=900)
    assert not read_all(path)[1].all()
    halve(tmp_path / "scene.tif.msk", share)
    with pytest.raises(SceneError, match=r"scene\.tif"):
        read_all(path)


@pytest.mark.parametrize(
    ("driver", "profile"),
    [
        ("GTiff", {"compress": "deflate", "tiled": True}),
        ("GTiff", {"compress": "jpeg"}),
        ("GTiff", {}),
        ("JP2OpenJPEG", {"blockxsize": 256, "blockysize": 256}),
        ("PNG", {}),
        ("JPEG", {}),
        ("ENVI", {}),
        ("PCIDSK", {}),
        ("EHdr", {}),
    ],
)
@pytest.mark.parametrize("share", [0.98, 0.5])
def test_a_truncated_file_is_an_error_in_any_format(tmp_path, many_readers, driver, profile, share):
    path = write_raster(tmp_path / "scene.img", noise(SIDE), driver=driver, **profile)
    read_all(path)
    halve(path, share)
    with pytest.raises(SceneError, match="scene"):
        read_all(path)


def test_an_environment_that_ignores_errors_changes_nothing(tmp_path, monkeypatch):
    for name in ("GTIFF_IGNORE_READ_ERRORS", "GTIFF_DIRECT_IO", "GTIFF_VIRTUAL_MEM_IO", "GDAL_ONE_BIG_READ"):
        monkeypatch.setenv(name, "YES")
    path = write_raster(tmp_path / "scene.tif", noise(SIDE))
    halve(path)
    with pytest.raises(SceneError, match="cannot be read"):
        read_all(path)


def test_holes_of_a_sparse_file_are_no_errors(tmp_path):
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": SIDE, "width": SIDE, "tiled": True}
    with rasterio.open(path, "w", SPARSE_OK=True, transform=rasterio.Affine.scale(2, -2), **profile) as dataset:
        dataset.write(noise(256), window=RasterioWindow(256, 256, 256, 256))
    values, _ = read_all(path)
    np.testing.assert_array_equal(values[:, 256:512, 256:512], noise(256))
    assert values.sum() == noise(256).sum()


# ---------------------------------------------------------------------------------------------------------- servers


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name, profile in LAYOUTS.items():
        write_raster(folder / name, noise(512), **profile | tile_sizes(name))
    return folder


@pytest.mark.parametrize(
    "fault", [fault if fault in QUICK_FAULTS else pytest.param(fault, marks=pytest.mark.slow) for fault in FAULTS]
)
def test_a_server_that_fails_every_second_request_is_asked_again(served, patient, monkeypatch, fault):
    monkeypatch.setattr("geoseg.raster.reading.readers.processors", lambda: 2)
    monkeypatch.setattr("geoseg.raster.reading.dataset._SHARED_PX", 2**16)
    monkeypatch.setattr("geoseg.raster.reading.cells._SIDE", 128)
    monkeypatch.setattr("geoseg.raster.reading.cells._PIXELS", 2**15)
    with stumbling_server(served, fault) as server:
        for name in LAYOUTS:
            np.testing.assert_array_equal(read_all(f"{server.url}/{name}")[0], read_all(served / name)[0])
        counts = server.counts()
    assert counts["failed"] >= 2 * len(LAYOUTS)


def test_sources_of_a_vrt_on_a_server_that_stumbles_are_asked_again(served, tmp_path, patient):
    with stumbling_server(served, "cut", every=3) as server:
        sources = [
            [source(f"/vsicurl/{server.url}/deflate_tiled.tif", band, (512 * i, 0), 512) for i in (0, 1)]
            for band in (1, 2, 3)
        ]
        path = write_vrt(tmp_path / "far.vrt", sources, side=1024)
        path.write_text(path.read_text().replace('relativeToVRT="1"', 'relativeToVRT="0"'))
        values, _ = read_all(path)
    np.testing.assert_array_equal(values[:, :512, 512:], noise(512))


@pytest.mark.parametrize("name", ["none_tiled.tif", "deflate_striped.tif", "jpeg_tiled.tif"])
def test_a_file_that_is_shorter_on_the_server_than_its_header_says_is_an_error(
    served, tmp_path, patient, monkeypatch, name
):
    monkeypatch.setattr("geoseg.raster.reading.dataset.PATIENCE_S", 0.5)
    shutil.copy(served / name, tmp_path / name)
    halve(tmp_path / name, 0.8)
    with stumbling_server(tmp_path) as server, pytest.raises(SceneError, match="the server did not deliver it"):
        read_all(f"{server.url}/{name}")


def test_a_server_that_fails_for_good_is_an_error(served, patient, monkeypatch):
    monkeypatch.setattr("geoseg.raster.reading.dataset.PATIENCE_S", 1)
    with stumbling_server(served, "503", every=1) as server, pytest.raises(SceneError):
        read_all(f"{server.url}/none_tiled.tif")


@pytest.mark.slow
def test_stalled_connections_end_within_the_documented_bound(served, monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "2")
    monkeypatch.setattr("geoseg.raster.reading.dataset.PATIENCE_S", 6)
    begun = time.monotonic()
    with stumbling_server(served, "stall", every=1) as server, pytest.raises(SceneError):
        read_all(f"{server.url}/deflate_tiled.tif")
    assert time.monotonic() - begun < 30


# ------------------------------------------------------------------------------------------- what may not be a raster


def test_a_vrt_that_shows_the_bytes_of_a_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "secret").write_text("x" * 100)
    raw = tmp_path / "raw.vrt"
    raw.write_text(
        '<VRTDataset rasterXSize="10" rasterYSize="10"><VRTRasterBand dataType="Byte" band="1" '
        'subClass="VRT&#82;awRasterBand"><SourceFilename relativeToVRT="1">secret</SourceFilename>'
        "<PixelOffset>1</PixelOffset><LineOffset>10</LineOffset></VRTRasterBand></VRTDataset>"
    )
    outer = write_vrt(tmp_path / "outer.vrt", [[source("raw.vrt", 1, side=10)]], side=10)
    for path in (raw, outer):
        with pytest.raises(SceneError, match="VRTRawRasterBand"):
            Scene.open(path)
        with pytest.raises(SceneError, match="VRTRawRasterBand"):
            vectorize(path, tmp_path / "out.gpkg")
    monkeypatch.setenv("GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE", "ALL")
    assert (read_all(outer)[0] == ord("x")).all()


def test_a_vrt_from_a_server_may_not_show_files_of_this_machine(tmp_path):
    secret = write_raster(tmp_path / "secret.tif", noise(64))
    (tmp_path / "web").mkdir()
    text = write_vrt(tmp_path / "web" / "x.vrt", [[source(str(secret), 1, side=64)]], side=64).read_text()
    (tmp_path / "web" / "x.vrt").write_text(text.replace('relativeToVRT="1"', 'relativeToVRT="0"'))
    with stumbling_server(tmp_path / "web") as server, pytest.raises(SceneError, match="which is not on a server"):
        Scene.open(f"{server.url}/x.vrt")


WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>http://127.0.0.1:9/${z}/${x}/${y}.png</ServerUrl></Service>'
    "<DataWindow><SizeX>2147483647</SizeX><SizeY>2147483647</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
)


def test_rasters_of_absurd_sizes_are_refused(tmp_path):
    write_raster(tmp_path / "dot.tif", noise(64))
    (tmp_path / "world.xml").write_text(WMS)
    huge = write_vrt(tmp_path / "huge.vrt", [[source("dot.tif", 1, side=64)]], side=2**31 - 1)
    empty = write_vrt(tmp_path / "empty.vrt", [[source("dot.tif", 1, side=64)]], side=400_000)
    with Scene.open(tmp_path / "world.xml") as scene, pytest.raises(SceneError, match="pixels: limit it with --bbox"):
        scene.within(None, None)
    for path in (huge, empty):
        with pytest.raises(SceneError, match="pixels"):
            Scene.open(path)
    for path in (tmp_path / "world.xml", huge, empty):
        with pytest.raises(GeosegError, match=r"pixels|single band"):
            vectorize(path, tmp_path / "out.gpkg")


def test_band_names_that_are_no_text_are_none(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(64), descriptions=("raed", "green", "blue"))
    path.write_bytes(path.read_bytes().replace(b"raed", b"r\xe9ed"))
    with Scene.open(path) as scene:
        assert scene.info.descriptions == ("", "", "")


# --------------------------------------------------------------------------------------------------------- disk space


def test_disk_space_is_checked_through_a_vrt(tmp_path, monkeypatch):
    write_raster(tmp_path / "tile.tif", noise(64), compress="deflate")
    places = [(col, row) for row in range(0, 2048, 64) for col in range(0, 2048, 64)]
    path = write_vrt(
        tmp_path / "scene.vrt", [[source("tile.tif", b, p, 64) for p in places] for b in (1, 2, 3)], side=2048
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(2**20))
    with pytest.raises(OutputError, match="MB free"):
        predict(path, tmp_path / "out", model=echo_model(bands=("red", "green", "blue")), **QUICK)


def test_a_vrt_that_is_mostly_empty_needs_little_space(tmp_path):
    write_raster(tmp_path / "tile.tif", noise(64))
    path = write_vrt(tmp_path / "scene.vrt", [[source("tile.tif", b, side=64)] for b in (1, 2, 3)], side=20_000)
    with Scene.open(path) as scene:
        assert 64 * 64 <= scene.held_pixels <= 65 * 65


# ------------------------------------------------------------------------------------------------------------ threads


def test_an_error_of_a_reader_comes_up_and_the_others_end(tmp_path, many_readers):
    path = write_raster(tmp_path / "scene.tif", noise(SIDE), compress="deflate", tiled=True)
    halve(path, 0.9)
    with open_dataset(path) as dataset:
        for _ in range(3):
            with pytest.raises(RasterioIOError, match="scene"):
                dataset.read([1, 2, 3], window=RasterioWindow(0, 0, SIDE, SIDE))
        assert dataset.read([1], window=RasterioWindow(0, 0, SIDE, 128)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_has_readers_of_its_own(tmp_path, many_readers):
    path, image = write_mosaic(tmp_path)
    read_all(path)
    child = os.fork()
    if child == 0:
        os._exit(0 if (read_all(path)[0] == image).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("error", "path", "cause"),
    [
        (RasterioIOError("IReadBlock failed"), "/data/a.tif", "the file is damaged or incomplete"),
        (RasterioIOError("IReadBlock failed"), "/vsiadls/c/a.tif", "the server did not deliver it"),
        (RasterioIOError("/vsicurl/http://h/a.tif: 503"), "/data/a.vrt", "the server did not deliver it"),
        (MemoryError(), "/data/a.tif", "out of memory"),
    ],
)
def test_a_read_that_failed_says_what_is_to_blame(error, path, cause):
    assert unreadable(error, path).startswith(f"{path} cannot be read: ")
    assert cause in unreadable(error, path)


def test_servers_of_polygons_are_waited_for_as_long_as_those_of_rasters(monkeypatch):
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "7")
    _bound_connections.__wrapped__()
    assert pyogrio.get_gdal_config_option("GDAL_HTTP_CONNECTTIMEOUT") == 7
    assert pyogrio.get_gdal_config_option("GDAL_HTTP_LOW_SPEED_TIME") == server_options()["GDAL_HTTP_LOW_SPEED_TIME"]
    monkeypatch.undo()
    _bound_connections.__wrapped__()


@pytest.mark.parametrize("options", [{"COMPRESSED": "YES"}, {"USE_SPILL": "YES"}, {}])
def test_an_imagine_file_that_is_short_is_an_error(tmp_path, options):
    path = write_raster(tmp_path / "s.img", noise(128), driver="HFA", **options)
    whole = read_all(path)[0]
    long = tmp_path / ("s.ige" if "USE_SPILL" in options else "s.img")
    content = long.read_bytes()
    for share in (0.3, 0.6, 0.9):
        long.write_bytes(content[: int(share * len(content))])
        with pytest.raises(SceneError, match=re.escape(long.name)):
            read_all(path)
    long.write_bytes(content)
    np.testing.assert_array_equal(read_all(path)[0], whole)


@pytest.mark.parametrize(("driver", "options"), [("HFA", {"COMPRESSED": "YES"}), ("ENVI", {}), ("PCIDSK", {})])
def test_a_short_source_of_a_vrt_is_an_error(tmp_path, driver, options):
    path = write_raster(tmp_path / "s.img", noise(128), driver=driver, **options)
    rasterio.shutil.copy(path, tmp_path / "s.vrt", driver="VRT")
    read_all(tmp_path / "s.vrt")
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    with pytest.raises(SceneError, match=r"s\.img"):
        read_all(tmp_path / "s.vrt")
