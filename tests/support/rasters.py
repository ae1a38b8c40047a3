"""Rasters made on the spot, and where those of ../shared lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values

SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
UTM = "EPSG:32617"
TRANSFORM = from_origin(300_000, 4_300_000, 0.6, 0.6)

UTM_DENSITY = 0.9996**-2
"""Square metres on the ellipsoid in one of the map, on the central meridian of a UTM zone."""

needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data is not on this machine")


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


class Ramp:
    """A raster whose two bands are row and column of each pixel's middle; it counts the pixels that are read."""

    def __init__(self, height: int, width: int, holes: float = 0.0):
        self.height, self.width, self.read_px = height, width, 0
        self._valid = np.random.default_rng(0).random((height, width)) >= holes

    def read(self, window: Window) -> tuple[Values, Mask]:
        assert window == window.clip(self.height, self.width)
        self.read_px += window.pixels
        rows, cols = np.mgrid[window.slices].astype(np.float32) + 0.5
        return np.stack([rows, cols]), self._valid[window.slices].copy()
