"""Rasters on servers: recognising them, retrying failed requests, and emptying GDAL's cache of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from geoseg.core.safe_paths import SERVER_SYSTEMS

PATIENCE_S = 60
"""Seconds after which a failing request is not repeated."""

_READERS = 4
_NAMES = re.compile(f"/({'|'.join(SERVER_SYSTEMS)})(_streaming)?[/?]")
_LOCAL_SCHEMES = "file://", "zip://", "tar://", "gzip://", "vrt://"
_FORGETFUL = ":".join(f"/{name}/" for name in SERVER_SYSTEMS)
_FINAL = re.compile(r"response code: 4(?!08|29)\d\d|could not resolve host|could not connect", re.I)


def is_remote(path: str) -> bool:
    """Whether a path is read over a network, entirely or in part."""
    return bool(_NAMES.search(path)) or ("://" in path and not path.startswith((*_LOCAL_SCHEMES, "<")))


def is_final(message: str) -> bool:
    """Whether repeating a request is useless: the server refuses it, or does not exist."""
    return bool(_FINAL.search(message))


def pauses() -> Iterator[float]:
    """Seconds to wait before each repetition of a request, following GDAL's own settings.

    There are more repetitions than GDAL makes: with several readers, the failures of a server may all hit the same one.
    """
    options = rasterio.env.getenv() if rasterio.env.hasenv() else {}
    count, first = int(options.get("GDAL_HTTP_MAX_RETRY", 0)), float(options.get("GDAL_HTTP_RETRY_DELAY", 1))
    return (first * 2 ** min(i, count - 1) for i in range(_READERS * count))


def forget(dataset: Any, path: str, sources: Sequence[str]) -> None:
    """Empty GDAL's cache of remote files, which may hold a truncated file that it takes for complete.

    GDAL drops the cache of a file marked as not cached when it closes it: checking whether it exists will do. Listing
    the files of an open dataset makes GDAL check, and keeps decoded blocks.
    """
    with rasterio.Env(CPL_VSIL_CURL_NON_CACHED=_FORGETFUL), suppress(RasterioError):
        if dataset is None:
            rasterio.open(path).close()
        else:
            _ = dataset.files
        for source in sources:
            rasterio.open(source).close()
