"""GDAL's options for reading, some of which environment variables override."""

from __future__ import annotations

import os
from typing import Any

SAFE: dict[str, Any] = {
    "GDAL_NUM_THREADS": 1,  # GDAL 3.10 loses the errors of its threads, and fills in zeros
    "VRT_NUM_THREADS": 1,
    "GTI_NUM_THREADS": 1,
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "GTIFF_DIRECT_IO": "NO",
    "GTIFF_VIRTUAL_MEM_IO": "NO",
    "GDAL_ONE_BIG_READ": "NO",  # reads past the end of a raw file as zeros
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # reads past the end of a PNG as whatever is in memory
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",
}
"""Options with which a read fails if any part of it fails."""

CONNECT_S, STALLED_S = 10, 20
"""Seconds after which a connection that does not come about, or over which nothing comes, is given up."""

_WAITING: dict[str, Any] = {
    "GDAL_HTTP_CONNECTTIMEOUT": CONNECT_S,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_HTTP_LOW_SPEED_TIME": STALLED_S,
    "GDAL_HTTP_MAX_RETRY": 5,
    "GDAL_HTTP_RETRY_DELAY": 1,
}
_SERVER = _WAITING | {
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # listing folders on servers is slow or refused; sidecars are tried by name
}


def waiting_options() -> dict[str, Any]:
    """Timeouts and retries of requests to servers; environment variables override them."""
    return _unless_given(_WAITING)


def server_options() -> dict[str, Any]:
    """All options for rasters on servers, likewise."""
    return _unless_given(_SERVER)


def _unless_given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: os.environ.get(name, value) for name, value in options.items()}
