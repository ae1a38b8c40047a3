"""What tests share: rasters made on the spot, and models that give back what they are shown."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import settings
from rasterio.transform import from_origin

from geoseg.core.events import Progress, Reporter
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.model import Model
from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, NormalizationSpec

settings.register_profile("geoseg", deadline=None)  # a busy machine is no failure
settings.load_profile("geoseg")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
UTM = "EPSG:32617"
TRANSFORM = from_origin(300_000, 4_300_000, 0.6, 0.6)

needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data is not on this machine")


class Heard(Reporter):
    """Keeps what a command says; each progress also goes to a callable (stage, done, total)."""

    def __init__(self, on_progress: Callable[[str, int, int], object] = lambda stage, done, total: None):
        self.lines: list[str] = []
        self.progressed: list[tuple[str, int, int]] = []
        self._on_progress = on_progress

    def notice(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, progress: Progress) -> None:
        state = progress.stage, progress.done, progress.total
        self.progressed.append(state)
        self._on_progress(*state)


class Watching(Reporter):
    """Keeps notices, and hands each progress on as it is."""

    def __init__(self, on_progress: Callable[[Any], object] = lambda state: None, lines: list[str] | None = None):
        self.lines = [] if lines is None else lines
        self.progress = on_progress  # type: ignore[method-assign]

    def notice(self, line: str) -> None:
        self.lines.append(line)


class Echo(torch.nn.Module):
    """Class = value of the first band."""

    def __init__(self, classes: int):
        super().__init__()
        self.classes = classes

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        index = image[:, 0].round().long().clamp(0, self.classes - 1)
        return 40 * torch.nn.functional.one_hot(index, self.classes).permute(0, 3, 1, 2).float()


class CountingEcho(Echo):
    """An echo that remembers how many pixels it has seen."""

    seen = 0

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        self.seen += image.shape[0] * image.shape[2] * image.shape[3]
        return super().forward(image)


def class_specs(count: int) -> list[ClassSpec]:
    return [
        ClassSpec(id=i, name=f"class {i}", color=f"#{(37 * i) % 256:02x}80{(91 * i) % 256:02x}") for i in range(count)
    ]


def make_spec(classes: int = 4, **fields: Any) -> ModelSpec:
    bands = fields.pop("bands", ("value",))
    values = {
        "name": "test",
        "network": NetworkSpec(architecture="pointwise", multiple=8),
        "bands": bands,
        "normalization": NormalizationSpec(mean=(0.0,) * len(bands), std=(1.0,) * len(bands)),
        "classes": class_specs(classes),
        "resolution_m": 0.6,
    }
    return ModelSpec(**values | fields)


def echo_model(classes: int = 4, **fields: Any) -> Model:
    return Model(make_spec(classes, **fields), Echo(classes).eval())


def save_bundle(path: Path, **fields: Any) -> Path:
    """Write a bundle with random weights that fits the given bands and type."""
    torch.manual_seed(0)
    spec = make_spec(**fields)
    return save_model(build_network(spec), spec, path)


def write_raster(path: Path, values: np.ndarray, **profile: Any) -> Path:
    """Write (h, w) or (bands, h, w) values as a GeoTIFF; georeferenced in UTM unless the profile says otherwise."""
    values = values if values.ndim == 3 else values[None]
    count, height, width = values.shape
    extras = {
        name: profile.pop(name)
        for name in ("mask", "gcps", "rpcs", "colorinterp", "descriptions", "scales", "offsets")
        if name in profile
    }
    settings = {"crs": UTM, "transform": TRANSFORM, "driver": "GTiff", "dtype": values.dtype.name} | profile
    if settings["transform"].is_identity:
        del settings["transform"]  # written, it would be coordinates like any others
    with rasterio.open(path, "w", height=height, width=width, count=count, **settings) as dataset:
        dataset.write(values)
        if "mask" in extras:
            dataset.write_mask(extras.pop("mask"))
        for name, value in extras.items():
            setattr(dataset, name, value)
    return path


@pytest.fixture
def class_values() -> Callable[..., np.ndarray]:
    """Random class ids in blobs of a few pixels."""

    def make(height: int, width: int, classes: int = 4, seed: int = 0, blob: int = 5) -> np.ndarray:
        small = np.random.default_rng(seed).integers(
            0, classes, (height // blob + 1, width // blob + 1), dtype=np.uint8
        )
        return np.kron(small, np.ones((blob, blob), np.uint8))[:height, :width]

    return make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
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
