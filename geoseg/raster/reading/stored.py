"""Bytes that a raster takes in its files, and an upper bound of its pixels that hold data.

In: an open GeoTIFF or VRT. Out: numbers, found without reading a pixel. Height times width says little: a file of few
bytes may declare any number of pixels.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from geoseg.raster.reading.remote import is_remote

_PX_PER_BYTE = 30
"""Imagery with more pixels per byte than this is mostly empty."""
_BAND = re.compile(r"<VRTRasterBand[ >].*?</VRTRasterBand>", re.S)
_SOURCE = re.compile(r"<(\w+Source)[ >].*?</\1>", re.S)
_PLACE = re.compile(r'<DstRect [^>]*xSize="([0-9.e+]+)" ySize="([0-9.e+]+)"')


def stored_bytes(dataset: Any) -> int | None:
    """Size of a GeoTIFF, or of the sources of a VRT, in bytes; None for other formats, or where it is unknown."""
    files = list(dataset.files)
    if dataset.driver not in ("GTiff", "VRT") or not files or any(is_remote(file) for file in files):
        return None
    if dataset.driver == "GTiff":
        files = files[:1]
    return sum(os.path.getsize(file) for file in files) if all(map(os.path.isfile, files)) else None


def held_pixels(dataset: Any) -> int:
    """Upper bound of the pixels that hold data: of a GeoTIFF by its size, of a VRT by the extents of its sources."""
    pixels = int(dataset.width * dataset.height)
    if dataset.driver == "VRT":
        return min(pixels, _shown_pixels(vrt_text(dataset), pixels))
    size = stored_bytes(dataset)
    return pixels if size is None else min(pixels, _PX_PER_BYTE * size)


def vrt_text(dataset: Any) -> str:
    """The XML of a VRT as GDAL writes it, in a normal form."""
    return str(dataset.tags(ns="xml:VRT").get("xml:VRT", ""))


def _shown_pixels(text: str, pixels: int) -> int:
    """Pixels of the first band that sources cover; all if it has no sources, or one of them has no extent."""
    band = _BAND.search(text)
    if band is None or "VRTRasterBand" not in band[0] or "subClass" in band[0][: band[0].find(">")]:
        return pixels
    return sum(_areas(band[0], pixels))


def _areas(band: str, pixels: int) -> Iterator[int]:
    for source in _SOURCE.finditer(band):
        place = _PLACE.search(source[0])
        yield pixels if place is None else int(float(place[1]) * float(place[2]) + 1)
