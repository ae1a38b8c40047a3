"""How much of a raster is there: a file of few bytes may claim any number of pixels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from geoseg.raster.reading.remote import is_remote

_PX_PER_BYTE = 30
"""Imagery stored in fewer bytes than this is mostly empty."""
_BAND = re.compile(r"<VRTRasterBand[ >].*?</VRTRasterBand>", re.S)
_SOURCE = re.compile(r"<(\w+Source)[ >].*?</\1>", re.S)
_PLACE = re.compile(r'<DstRect [^>]*xSize="([0-9.e+]+)" ySize="([0-9.e+]+)"')


def stored_bytes(dataset: Any) -> int | None:
    """Bytes of a GeoTIFF, or of the files that a VRT shows; None of other formats, or where they are not known."""
    files = list(dataset.files)
    if dataset.driver not in ("GTiff", "VRT") or not files or any(is_remote(file) for file in files):
        return None
    if dataset.driver == "GTiff":
        files = files[:1]
    return sum(os.path.getsize(file) for file in files) if all(map(os.path.isfile, files)) else None


def held_pixels(dataset: Any) -> int:
    """Pixels that may hold data, at most: those of a GeoTIFF by its size, of a VRT where it shows something."""
    pixels = int(dataset.width * dataset.height)
    if dataset.driver == "VRT":
        return min(pixels, _shown_pixels(vrt_text(dataset), pixels))
    size = stored_bytes(dataset)
    return pixels if size is None else min(pixels, _PX_PER_BYTE * size)


def vrt_text(dataset: Any) -> str:
    """A VRT as GDAL understands it, which leaves nothing to spell in another way."""
    return str(dataset.tags(ns="xml:VRT").get("xml:VRT", ""))


def _shown_pixels(text: str, pixels: int) -> int:
    """Pixels of the first band on which sources lie; all if it is not made of sources, or one of them has no place."""
    band = _BAND.search(text)
    if band is None or "VRTRasterBand" not in band[0] or "subClass" in band[0][: band[0].find(">")]:
        return pixels
    return sum(_areas(band[0], pixels))


def _areas(band: str, pixels: int) -> Iterator[int]:
    for source in _SOURCE.finditer(band):
        place = _PLACE.search(source[0])
        yield pixels if place is None else int(float(place[1]) * float(place[2]) + 1)
