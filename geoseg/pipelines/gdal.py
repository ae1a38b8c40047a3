"""How GDAL is set up while a pipeline runs."""

from __future__ import annotations

from typing import Any

import rasterio

CACHE_MB = 32
"""Megabytes of decoded blocks that GDAL keeps: those that the next swath needs again. Its usual 5 % of the machine are
wasted on what is read once."""
TRAINING_CACHE_MB = 1024
"""The same for windows drawn at random, which come back to a block again and again."""


def gdal_settings(cache_mb: int = CACHE_MB) -> Any:
    """A context in which GDAL's cache is bounded, and a server that stumbles is asked again but not for ever.

    Folders are not listed when a file is opened, which servers are slow at or refuse, but sidecar files are looked for.
    """
    return rasterio.Env(
        GDAL_NUM_THREADS="ALL_CPUS",  # blocks that are read at once are decoded side by side
        GDAL_CACHEMAX=cache_mb * 2**20,  # rasterio takes bytes, GDAL itself would take megabytes
        GDAL_DISABLE_READDIR_ON_OPEN="TRUE",
        GDAL_HTTP_CONNECTTIMEOUT=30,
        GDAL_HTTP_LOW_SPEED_LIMIT=1000,
        GDAL_HTTP_LOW_SPEED_TIME=60,
        GDAL_HTTP_MAX_RETRY=5,
        GDAL_HTTP_RETRY_DELAY=1,
    )
