"""Maps on servers (XYZ tiles, WMS, WMTS), described by GDAL's own XML."""

import io
import multiprocessing
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
import rasterio
from PIL import Image
from support.models import echo_model

from geoseg.commands.predict import predict
from geoseg.core.errors import SceneError
from geoseg.scenes import open_scene

HALF = 20037508.342789244
"""Half the width of the world in web mercator, in metres."""
ZOOM = 3
SIDE = 256 * 2**ZOOM
QUICK: dict[str, Any] = {"polygons": False, "preview": False, "stac": False, "device": "cpu"}


def world() -> np.ndarray:
    """Values of 0 to 3 in the pixels of the whole world (h, w)."""
    rows, cols = np.mgrid[:SIDE, :SIDE]
    return ((rows // 40 + cols // 56) % 4).astype(np.uint8)


class Maps(BaseHTTPRequestHandler):
    """Answers requests for XYZ tiles, WMS maps and WMTS tiles and capabilities."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name.upper(): value for name, value in parse_qsl(parts.query)}
        if query.get("REQUEST") == "GetMap":
            left, bottom, right, top = map(float, query["BBOX"].split(","))
            pixel = 2 * HALF / SIDE
            rows = np.floor((HALF - np.linspace(top, bottom, int(query["HEIGHT"]), endpoint=False)) / pixel + 0.5)
            cols = np.floor((np.linspace(left, right, int(query["WIDTH"]), endpoint=False) + HALF) / pixel + 0.5)
            self._send(world()[np.ix_(rows.astype(int), cols.astype(int))])
        elif parts.path == "/wmts.xml":
            self._answer(CAPABILITIES.replace("{port}", str(self.server.server_port)).encode(), "text/xml")  # type: ignore[attr-defined]
        else:
            *_, zoom, x, y = parts.path.removesuffix(".png").split("/")
            if int(zoom) != ZOOM or (int(x), int(y)) == (7, 7):
                self.send_error(404)
                return
            row, col = 256 * int(y), 256 * int(x)
            self._send(world()[row : row + 256, col : col + 256])

    def _send(self, values: np.ndarray) -> None:
        file = io.BytesIO()
        Image.fromarray(np.stack([values] * 3, axis=-1)).save(file, "PNG")
        self._answer(file.getvalue(), "image/png")

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    service = ThreadingHTTPServer(("127.0.0.1", 0), partial(Maps))
    process = multiprocessing.get_context("fork").Process(target=service.serve_forever, daemon=True)
    process.start()
    yield f"http://127.0.0.1:{service.server_port}"
    process.kill()
    service.server_close()


WINDOW = f"""<DataWindow><UpperLeftX>{-HALF}</UpperLeftX><UpperLeftY>{HALF}</UpperLeftY>
<LowerRightX>{HALF}</LowerRightX><LowerRightY>{-HALF}</LowerRightY>"""
XYZ = (
    """<GDAL_WMS><Service name="TMS"><ServerUrl>{server}/tiles/${{z}}/${{x}}/${{y}}.png</ServerUrl></Service>"""
    + WINDOW
    + """<TileLevel>{zoom}</TileLevel><TileCountX>1</TileCountX><TileCountY>1</TileCountY><YOrigin>top</YOrigin>
</DataWindow><Projection>EPSG:3857</Projection><BlockSizeX>256</BlockSizeX><BlockSizeY>256</BlockSizeY>
<BandsCount>3</BandsCount></GDAL_WMS>"""
)
WMS = (
    """<GDAL_WMS><Service name="WMS"><Version>1.1.1</Version><ServerUrl>{server}/wms?</ServerUrl><SRS>EPSG:3857</SRS>
<ImageFormat>image/png</ImageFormat><Layers>a</Layers></Service>"""
    + WINDOW
    + f"<SizeX>{SIDE}</SizeX><SizeY>{SIDE}</SizeY></DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"
)
WMTS = """<GDAL_WMTS><GetCapabilitiesUrl>{server}/wmts.xml</GetCapabilitiesUrl><Layer>a</Layer>
<BandsCount>3</BandsCount></GDAL_WMTS>"""
CAPABILITIES = f"""<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
xmlns:xlink="http://www.w3.org/1999/xlink" version="1.0.0"><Contents><Layer><ows:Identifier>a</ows:Identifier>
<Style isDefault="true"><ows:Identifier>default</ows:Identifier></Style><Format>image/png</Format>
<TileMatrixSetLink><TileMatrixSet>m</TileMatrixSet></TileMatrixSetLink>
<ResourceURL format="image/png" resourceType="tile"
template="http://127.0.0.1:{{port}}/tiles/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.png"/></Layer>
<TileMatrixSet><ows:Identifier>m</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>
<TileMatrix><ows:Identifier>{ZOOM}</ows:Identifier>
<ScaleDenominator>{2 * HALF / SIDE / 0.00028}</ScaleDenominator>
<TopLeftCorner>{-HALF} {HALF}</TopLeftCorner><TileWidth>256</TileWidth><TileHeight>256</TileHeight>
<MatrixWidth>8</MatrixWidth><MatrixHeight>8</MatrixHeight></TileMatrix></TileMatrixSet></Contents></Capabilities>"""


def box(row: int, col: int, height: int, width: int) -> tuple[float, float, float, float]:
    """Coordinates of a window of the world."""
    pixel = 2 * HALF / SIDE
    left, top = col * pixel - HALF, HALF - row * pixel
    return left, top - height * pixel, left + width * pixel, top


def save(folder: Path, text: str, server: str, **values: Any) -> Path:
    path = folder / "map.xml"
    path.write_text(text.format(server=server, **{"zoom": ZOOM} | values) if "{server}" in text else text)
    return path


@pytest.mark.parametrize("text", [XYZ, WMS, WMTS], ids=["XYZ", "WMS", "WMTS"])
def test_an_area_of_a_map_on_a_server_is_classified(tmp_path: Path, server: str, text: str) -> None:
    model = echo_model(bands=("red", "green", "blue"))
    scene = save(tmp_path, text, server)
    result = predict(scene, tmp_path / "out", model=model, bbox=box(200, 300, 150, 120), **QUICK)
    with rasterio.open(result.paths["landcover"]) as file:
        np.testing.assert_array_equal(file.read(1), world()[200:350, 300:420])
        assert file.crs.to_epsg() == 3857


def test_of_a_map_of_any_size_an_area_is_classified_and_the_whole_is_refused(tmp_path: Path, server: str) -> None:
    scene = save(tmp_path, XYZ, server, zoom=20)
    with open_scene(str(scene)) as opened:
        assert opened.width == 256 * 2**20
    with pytest.raises(SceneError, match=r"claims 268,435,456 x 268,435,456 pixels: limit it with --bbox"):
        predict(scene, tmp_path / "out", model=echo_model(bands=("red", "green", "blue")), **QUICK)


def test_a_missing_tile_is_an_error_and_no_black_ground(tmp_path: Path, server: str) -> None:
    model = echo_model(bands=("red", "green", "blue"))
    with pytest.raises(SceneError, match="404"):
        predict(save(tmp_path, XYZ, server), tmp_path / "out", model=model, bbox=box(1900, 1900, 100, 100), **QUICK)
