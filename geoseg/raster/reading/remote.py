"""Rasters on servers: which are, how long they are asked again, and how GDAL forgets what it got of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from geoseg.core.safe_paths import SERVER_SYSTEMS

PATIENCE_S = 60
"""Seconds after which a server that failed is not asked again."""

_READERS = 4
_NAMES = re.compile(f"/({'|'.join(SERVER_SYSTEMS)})(_streaming)?[/?]")
_LOCAL_SCHEMES = "file://", "zip://", "tar://", "gzip://", "vrt://"
_FORGETFUL = ":".join(f"/{name}/" for name in SERVER_SYSTEMS)
_FINAL = re.compile(r"response code: 4(?!08|29)\d\d|could not resolve host|could not connect", re.I)


def is_remote(path: str) -> bool:
    """Whether a path is read over a network, if only in part."""
    return bool(_NAMES.search(path)) or ("://" in path and not path.startswith((*_LOCAL_SCHEMES, "<")))


def is_final(message: str) -> bool:
    """Whether asking again is of no use: the server refuses, or there is none."""
    return bool(_FINAL.search(message))


def pauses() -> Iterator[float]:
    """Seconds to wait before a server is asked again, once and again, as GDAL itself is set to wait.

    They are more than GDAL's: several readers share a server, whose every second answer may always go to the same one.
    """
    options = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    count, first = int(options.get("GDAL_HTTP_MAX_RETRY", 0)), float(options.get("GDAL_HTTP_RETRY_DELAY", 1))
    return (first * 2 ** min(i, count - 1) for i in range(_READERS * count))


def forget(dataset: Any, path: str, sources: Sequence[str]) -> None:
    """Make GDAL forget what it holds of remote files, half of which it may take for all.

    It does so when it lets go of a file that it is told not to keep: to look whether it is there will do. Asking an
    open dataset for its files makes it look, and what is decoded of it stays.
    """
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED=_FORGETFUL), suppress(RasterioError):
        if dataset is None:
            rasterio.open(path).close()
        else:
            _ = dataset.files
        for source in sources:
            rasterio.open(source).close()
