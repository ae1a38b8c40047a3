"""Checks of rasters that are not trusted: their size, the length of their files, and the files of their sources."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from xml.sax.saxutils import unescape

import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError, RasterioIOError

from geoseg.core.safe_paths import is_on_server
from geoseg.raster.reading.hfa import listed_bytes
from geoseg.raster.reading.remote import is_remote
from geoseg.raster.reading.stored import stored_bytes, vrt_text

PX_MOST = 1 << 38
"""Most pixels of a raster: 275 gigapixels. A file of a few bytes can claim any number."""
_SERVICES = frozenset({"WMS", "WMTS"})
"""Maps on servers, of which areas are read: they may claim the whole world in pixels of centimetres."""

ALLOW_RAW = "GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE"
"""Environment variable of GDAL 3.12: ALL lets VRTs show the bytes of any file as pixels."""

_SUSPICIOUS_PX = 10**9
_SUSPICIOUS_PX_PER_BYTE = 10**5
"""A raster of more than a gigapixel of which less than a byte is stored per hundred thousand pixels is damaged or a
trap."""
_SINGLE_FILES = frozenset({"GTiff", "COG", "JP2OpenJPEG", "PNG", "JPEG"})
"""Formats that refer to no other files but sidecars."""
_VRT_DEPTH = 8
_SOURCE_NAME = re.compile("<(?:SourceFilename|SourceDataset)([^>]*)>([^<]*)</")
_MASK_SOURCE = re.compile(r"<SourceFilename([^>]*)>([^<]*)</SourceFilename>\s*<SourceBand>mask,?(\d*)</SourceBand>")
_NO_FILE = re.compile(r"/vsi|<|[A-Za-z][A-Za-z0-9_+]+:|$")
_PCIDSK_BLOCK = 512


def check(dataset: Any, path: str) -> None:
    """Check a raster that was just opened.

    Raises:
        RasterioIOError: if it is not trustworthy: what is wrong, what to do.
    """
    if dataset.width * dataset.height > PX_MOST and dataset.driver not in _SERVICES:
        raise RasterioIOError(
            f"it claims {dataset.width:,} x {dataset.height:,} pixels: cut out the part that matters with "
            "gdal_translate -projwin"
        )
    pixels, size = dataset.width * dataset.height, stored_bytes(dataset)
    if size is not None and pixels > _SUSPICIOUS_PX and pixels > _SUSPICIOUS_PX_PER_BYTE * size:
        raise RasterioIOError(
            f"it declares {pixels:,} pixels in {size:,} bytes: it is damaged, or made to exhaust memory and time"
        )
    if dataset.driver == "VRT":
        _check_vrt(dataset, path, 0)
    elif not is_remote(path) and os.path.isfile(path):
        _check_length(dataset, path)
    else:
        _check_sources(dataset, path)


def _check_sources(dataset: Any, path: str) -> None:
    """Refuse a raster on a server that refers to files of this machine, in any way."""
    if not is_on_server(path) or dataset.driver in _SINGLE_FILES:
        return
    for file in dataset.files:
        if not is_on_server(file):
            raise RasterioIOError(
                f"it consists of {file}, which is not on a server: only files of this machine may lead to others"
            )


def _check_vrt(dataset: Any, path: str, depth: int) -> None:
    """Refuse raw bands, and sources that are missing, short or without their masks, also in nested VRTs."""
    if depth > _VRT_DEPTH:
        raise RasterioIOError(f"it shows a VRT in a VRT in a VRT, {depth} deep: make one VRT of the files")
    if os.environ.get(ALLOW_RAW) != "ALL" and 'subClass="VRTRawRasterBand"' in vrt_text(dataset):
        raise RasterioIOError(
            f"{path} shows the bytes of a file as pixels (VRTRawRasterBand), which may be any file: convert it to a "
            f"GeoTIFF, or set {ALLOW_RAW}=ALL if you trust it"
        )
    _check_sources(dataset, path)
    for source in _missing(dataset, path):
        raise RasterioIOError(f"{source}: No such file or directory")
    for source in _unmasked(dataset, path):
        raise RasterioIOError(f"{source} has no mask any more, of which {path} makes its own: put its .msk back")
    for source in dataset.files:
        if source != path and _needs_a_look(source):
            _check_source(source, depth + 1)


def _missing(dataset: Any, path: str) -> Iterator[str]:
    """Sources of a VRT that are missing files of this machine, which GDAL would skip."""
    for attributes, name in set(_SOURCE_NAME.findall(vrt_text(dataset))):
        source = _source(attributes, name, path)
        if not _NO_FILE.match(source) and not os.path.exists(source):
            yield source


def _source(attributes: str, name: str, path: str) -> str:
    """Path of a source of a VRT."""
    folder = os.path.dirname(path) if os.path.isfile(path) else ""
    return os.path.join(folder, unescape(name)) if 'relativeToVRT="1"' in attributes else unescape(name)


def _unmasked(dataset: Any, path: str) -> Iterator[str]:
    """Files of this machine whose masks a VRT uses and that have none, which GDAL reads as valid everywhere."""
    for attributes, name, band in set(_MASK_SOURCE.findall(vrt_text(dataset))):
        source = _source(attributes, name, path)
        if _NO_FILE.match(source):
            continue
        with suppress(RasterioError), rasterio.open(source) as opened:
            if MaskFlags.all_valid in opened.mask_flag_enums[int(band or 1) - 1]:
                yield source


def _check_source(source: str, depth: int) -> None:
    """Check a source of a VRT; one that cannot be opened fails when it is read."""
    try:
        opened = rasterio.open(source)
    except RasterioError:
        return
    with opened:
        if opened.driver == "VRT":
            _check_vrt(opened, source, depth)
        elif not is_remote(source) and os.path.isfile(source):
            _check_length(opened, source)


def _needs_a_look(source: str) -> bool:
    """Whether a source of a VRT is itself a VRT, or of a format that GDAL reads as zeros beyond the file's end."""
    if is_remote(source) or not os.path.isfile(source):
        return source.lower().endswith(".vrt") or "<VRTDataset" in source
    with open(source, "rb") as file:
        head = file.read(1024)
    has_header_beside = any(map(os.path.exists, (f"{source}.hdr", f"{os.path.splitext(source)[0]}.hdr")))
    return b"<VRTDataset" in head or head.startswith((b"EHFA_HEADER_TAG", b"PCIDSK")) or has_header_beside


def _check_length(dataset: Any, path: str) -> None:
    """Refuse files shorter than their header says, in formats that GDAL fills up with zeros."""
    for file, expected in _LENGTHS.get(dataset.driver, _unknown)(dataset, path):
        size = os.path.getsize(file)
        if size < expected:
            raise RasterioIOError(f"{file} has {size:,} bytes, its header says at least {expected:,}")


def _hfa_bytes(dataset: Any, path: str) -> Iterator[tuple[str, int]]:
    """Length of a file by its list of blocks; without one, all bands lie in another file, without gaps."""
    listed = listed_bytes(path)
    yield path, listed
    for spill in (file for file in dataset.files if file.lower().endswith(".ige") and not listed):
        yield spill, sum(map(_whole_blocks, dataset.block_shapes, dataset.dtypes, [dataset.shape] * dataset.count))


def _whole_blocks(block: tuple[int, int], dtype: str, shape: tuple[int, int]) -> int:
    """Size of a band in bytes whose blocks all have one size."""
    return math.prod(-(-size // side) * side for size, side in zip(shape, block, strict=True)) * _item_bytes(dtype)


def _unknown(_dataset: Any, _path: str) -> Iterator[tuple[str, int]]:
    return iter(())


def _envi_bytes(dataset: Any, path: str) -> Iterator[tuple[str, int]]:
    tags = dataset.tags(ns="ENVI")
    if tags.get("file_compression", "0").strip() == "0":
        pixel = sum(_item_bytes(dtype) for dtype in dataset.dtypes)
        yield path, int(tags.get("header_offset", 0)) + pixel * int(dataset.width) * int(dataset.height)


def _item_bytes(dtype: str) -> int:
    return int(rasterio.dtypes._getnpdtype(dtype).itemsize)


def _pcidsk_bytes(_dataset: Any, path: str) -> Iterator[tuple[str, int]]:
    with open(path, "rb") as file:
        blocks = file.read(32)[16:32].strip()
    if blocks.isdigit():
        yield path, int(blocks) * _PCIDSK_BLOCK


_LENGTHS: dict[str, Callable[[Any, str], Iterator[tuple[str, int]]]] = {
    "ENVI": _envi_bytes,
    "PCIDSK": _pcidsk_bytes,
    "HFA": _hfa_bytes,
}
"""Files and their least lengths in bytes, by format, for formats that GDAL reads as zeros beyond a file's end."""
