"""Scenes that are no plain files: over HTTP (from this machine) and inside an archive."""

import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import rasterio
from conftest import echo_model, write_raster

from geoseg.errors import SceneError
from geoseg.pipelines.predict import predict

QUICK = {"polygons": False, "preview": False}


@pytest.fixture
def server(tmp_path):
    """Serve the folder with range requests, as object stores do; gives its address."""

    class Ranges(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            path = tmp_path / self.path.partition("?")[0].lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            content = path.read_bytes()
            asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            first, last = (int(asked[1]), int(asked[2] or len(content) - 1)) if asked else (0, len(content) - 1)
            part = content[first : last + 1]
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(content)}")
            self.end_headers()
            if body:
                self.wfile.write(part)

        def log_message(self, *_):
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}"
    service.shutdown()


def test_a_scene_behind_a_url(tmp_path, class_values, server):
    values = class_values(300, 400)
    write_raster(tmp_path / "far.tif", values, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    result = predict(f"{server}/far.tif?token=1", tmp_path / "out", model=echo_model(), **QUICK)
    assert result.paths["landcover"].name == "far_landcover.tif"
    with rasterio.open(result.paths["landcover"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)


def test_a_url_that_leads_nowhere_is_one_line(tmp_path, server):
    with pytest.raises(SceneError, match="cannot be opened as a raster") as error:
        predict(f"{server}/nothing.tif", tmp_path / "out", model=echo_model(), **QUICK)
    assert "\n" not in str(error.value)


def test_a_scene_inside_an_archive(tmp_path, class_values):
    values = class_values(60, 70)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.write(write_raster(tmp_path / "inner.tif", values), "inner.tif")
    result = predict(f"/vsizip/{tmp_path}/s.zip/inner.tif", tmp_path / "out", model=echo_model(), **QUICK)
    with rasterio.open(result.paths["landcover"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
