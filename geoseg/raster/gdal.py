"""GDAL's settings while a command runs."""

from __future__ import annotations

from typing import Any

import rasterio

from geoseg.raster.reading import SAFE, server_options

CACHE_MB = 32
"""Megabytes of decoded blocks that GDAL keeps, for the next tile row. Its default, 5 % of the memory, is wasted on
pixels that are read once."""
TRAINING_CACHE_MB = 1024
"""The same for windows drawn at random, which read a block many times."""


def gdal_settings(cache_mb: int = CACHE_MB) -> Any:
    """A context in which GDAL's cache is bounded and read errors are raised.

    Requests that fail on a server are repeated a few times.
    """
    cache_bytes = cache_mb * 2**20  # rasterio takes bytes, GDAL itself would take megabytes
    return rasterio.Env(GDAL_CACHEMAX=cache_bytes, **SAFE, **server_options())
