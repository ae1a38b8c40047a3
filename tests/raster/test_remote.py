"""What comes from a server leads to servers only, and is read within bounds of size and time."""

import json
import os
import socket
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import numpy as np
import pytest
import rasterio.shutil
from support.models import echo_model
from support.rasters import write_raster
from support.servers import serving_apart

import geoseg
from geoseg.commands.info import describe_scene
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import GeosegError, SceneError
from geoseg.core.safe_paths import is_on_server
from geoseg.geo.aoi import find_area
from geoseg.geo.georef import PixelGrid
from geoseg.scenes import files, find_scenes, items

LOCAL = [
    "file:///etc/hostname", "/vsizip//etc/x.zip/a.tif", "/vsimem/a.tif", "vrt:///etc/a.tif", "vrt://a.tif", "C:\\x.tif",
    "\\\\host\\share\\x.tif", "/vsisubfile/0_10,/etc/x", "GTIFF_DIR:1:/etc/x.tif", "NETCDF:/etc/x.nc:a", "/vsistdin/",
    "<VRTDataset></VRTDataset>", "file://host/x.tif", "/vsigzip//etc/x.gz", "/vsicached?file=/etc/x",
]  # fmt: skip


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server of the current folder, in a process of its own."""
    monkeypatch.chdir(tmp_path)
    with serving_apart(tmp_path) as url:
        yield url


def outcome(source):
    """The scenes of a source, or the line that refuses them."""
    try:
        return find_scenes(source), ""
    except SceneError as error:
        return (), str(error)


def item(href):
    return {"type": "Feature", "id": "x", "assets": {"image": {"href": href, "type": "image/tiff"}}}


@pytest.mark.parametrize("href", LOCAL)
def test_items_and_lists_of_a_server_name_no_local_file(tmp_path, server, href):
    (tmp_path / "item.json").write_text(json.dumps(item(href)))
    (tmp_path / "list.txt").write_text(f"https://h/a.tif\n{href}\n")
    (tmp_path / "collected.json").write_text(
        json.dumps([item("a.tif") | {"links": [{"rel": "self", "href": "file:///etc/"}]}])
    )
    for name in ("item.json", "list.txt", "collected.json"):
        found, line = outcome(f"{server}/{name}")
        assert "which is not on a server" in line or all(is_on_server(scene.path) for scene in found)
        assert "\n" not in line


@pytest.mark.parametrize(
    "href", ["a.tif", "../b.tif", "/c.tif", "//h/d.tif", "https://h/e.tif", "s3://b/f.tif", "/vsicurl/https://h/g.tif"]
)
def test_items_of_a_server_name_what_is_on_servers(tmp_path, server, href):
    (tmp_path / "item.json").write_text(json.dumps(item(href)))
    (scene,) = find_scenes(f"{server}/item.json")
    assert is_on_server(scene.path)


def test_the_next_page_of_a_search_is_on_a_server(tmp_path, server):
    link = {"rel": "next", "href": "file:///etc/passwd"}
    (tmp_path / "s.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": [item("a.tif")], "links": [link]})
    )
    with pytest.raises(SceneError, match="next page that is not on a server"):
        find_scenes(f"{server}/s.json")


def test_a_mosaic_on_a_server_consists_of_nothing_local(tmp_path, server):
    inside = tmp_path / "secret.tif"
    write_raster(inside, np.ones((20, 30), np.uint8))
    rasterio.shutil.copy(inside, tmp_path / "near.vrt", driver="VRT")
    text = (tmp_path / "near.vrt").read_text()
    (tmp_path / "far.vrt").write_text(text.replace('relativeToVRT="1">secret.tif', f'relativeToVRT="0">{inside}'))
    (tmp_path / "deep.vrt").write_text(text.replace("secret.tif", "far.vrt"))
    assert describe_scene(f"{server}/near.vrt")["size"]["width"] == 30
    for name in ("far.vrt", "deep.vrt"):
        with pytest.raises(SceneError, match="which is not on a server"):
            describe_scene(f"{server}/{name}")


def test_a_search_without_an_end_ends(monkeypatch):
    pages = count()
    documents = (
        {"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": f"p{i}"}]} for i in pages
    )
    monkeypatch.setattr(items, "read_json", lambda _page: next(documents))
    with pytest.raises(SceneError, match="goes on for ever"):
        find_scenes("https://h/search.json")


@pytest.fixture
def dripping():
    """A server that sends a letter now and then, and never ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stopped = threading.Event()

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\nX: ")
                while not stopped.wait(0.05):
                    connection.sendall(b"x")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        stopped.set()


def test_a_server_that_drips_is_not_waited_for(dripping, monkeypatch):
    monkeypatch.setattr(files, "_DEADLINE_S", 0.5)
    begin = time.monotonic()
    with pytest.raises(SceneError, match="no whole answer within"):
        files.read_text(f"{dripping}/list.txt")
    assert time.monotonic() - begin < 5


def test_an_answer_that_is_too_large_is_refused(tmp_path, server, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    (tmp_path / "a.json").write_text(" " * 2000)
    with pytest.raises(SceneError, match="larger than"):
        files.read_text(f"{server}/a.json")


def test_pipes_and_devices_are_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("p.tif", "p.txt", "p.json", "p.geojson", "p.parquet"):
        os.mkfifo(name)
    os.symlink("/dev/zero", "zero.json")
    grid = PixelGrid(2, 2, rasterio.transform.from_origin(0, 2, 1, 1), "EPSG:4326")
    for call in (
        lambda: find_scenes("p.txt"),
        lambda: find_scenes("p.json"),
        lambda: find_scenes("zero.json"),
        lambda: geoseg.predict("p.tif", "out", model=echo_model(4)),
        lambda: vectorize("p.tif", "out.gpkg"),
        lambda: find_area(grid, tmp_path / "p.geojson", None, "scene"),
        lambda: find_area(grid, tmp_path / "p.parquet", None, "scene"),
    ):
        with pytest.raises(GeosegError, match=r"it is a (pipe|device): save") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["http://[::1", "http://[::1/x.tif", "s3://[x"])
def test_addresses_that_make_no_sense_are_one_line(path):
    (scene,) = find_scenes([path])
    with pytest.raises(SceneError) as error:
        geoseg.predict(scene.path, model=echo_model(4))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["https://[/a.json", "http://[/list.txt"])
def test_lists_at_addresses_that_make_no_sense_are_one_line(path):
    assert "cannot read" in outcome(path)[1]


def test_items_lead_to_files_whose_names_are_escaped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my scene#1.tif").touch()
    (tmp_path / "item.json").write_text(json.dumps(item("./my%20scene%231.tif")))
    assert [scene.path for scene in find_scenes("item.json")] == ["my scene#1.tif"]


def test_lists_may_need_a_password(tmp_path, server):
    (tmp_path / "list.txt").write_text("a.tif\n")
    address = server.replace("://", "://me:pass%20word@")
    assert [scene.path for scene in find_scenes(f"{address}/list.txt")] == [f"{address}/a.tif"]
    request = files._request(f"{address}/list.txt")
    assert request.full_url == f"{server}/list.txt"
    assert request.unredirected_hdrs == {"Authorization": "Basic bWU6cGFzcyB3b3Jk"}


def test_info_shows_the_scene_of_an_item_and_of_no_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("red", "green", "blue"):
        write_raster(f"{name}.tif", np.zeros((1, 32, 32), np.uint8))
    assets = {name: {"href": f"./{name}.tif", "type": "image/tiff"} for name in ("red", "green", "blue")}
    one = {"type": "Feature", "stac_version": "1.0.0", "id": "one", "properties": {}, "assets": assets, "links": []}
    (tmp_path / "one.json").write_text(json.dumps(one))
    assert describe_scene("one.json")["band_count"] == 3
    with pytest.raises(SceneError, match=r"^\. holds 3 scenes: give one, e\.g\. .*\.tif$"):
        describe_scene(".")


def test_a_server_without_ranges_is_named_as_the_reason(tmp_path):
    write_raster(tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 255, (3, 256, 256)).astype(np.uint8))

    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path)))
    threading.Thread(target=service.serve_forever, daemon=True).start()
    with pytest.raises(SceneError, match="sends whole files only, no parts: download it"):
        describe_scene(f"http://127.0.0.1:{service.server_port}/scene.tif")
    service.shutdown()
