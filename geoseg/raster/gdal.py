"""How GDAL is set up while a pipeline runs."""

from __future__ import annotations

from typing import Any

import rasterio

from geoseg.raster.reading import SAFE, server_options

CACHE_MB = 32
"""Megabytes of decoded blocks that GDAL keeps: those the next tile row needs again. Its usual 5 % of the machine are
wasted on what is read once."""
TRAINING_CACHE_MB = 1024
"""The same for windows drawn at random, which come back to a block again and again."""


def gdal_settings(cache_mb: int = CACHE_MB) -> Any:
    """A context in which GDAL's cache is bounded, and no error of a read is lost.

    A server that stumbles is asked again, but not for ever.
    """
    cache_bytes = cache_mb * 2**20  # rasterio takes bytes, GDAL itself would take megabytes
    return rasterio.Env(GDAL_CACHEMAX=cache_bytes, **SAFE, **server_options())
