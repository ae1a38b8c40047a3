"""Where a legend may stand: an open class raster, what GDAL knows of its band, and the files beside it.

In: an open raster, or paths. Out: texts and elements that the sources read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import rasterio.shutil
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geoseg.core.files import one_line
from geoseg.core.naming import visible
from geoseg.core.regular_files import read_bounded
from geoseg.raster.reading import open_dataset

MOST_LETTERS = 200
"""Longest name of a class."""


class UnreadableLegend(Exception):
    """A legend cannot be read; the message is one line that names its place."""


@dataclass(frozen=True)
class LegendPlace:
    """An open class raster, and what lies beside it."""

    raster: Any
    """The raster, as `open_dataset` gives it."""

    @cached_property
    def band(self) -> Element:
        """What GDAL knows of the first band, as an element of its format VRT, into which GDAL brings all formats."""
        try:
            with MemoryFile(ext=".vrt") as file:
                self.raster.ask(lambda handle: rasterio.shutil.copy(handle, file.name, driver="VRT"))
                root = ElementTree.fromstring(file.read())
        except (RasterioError, ElementTree.ParseError, OSError):
            return Element("VRTRasterBand")
        band = root.find("VRTRasterBand")
        return Element("VRTRasterBand") if band is None else band

    def beside(self, ending: str) -> Iterator[Path]:
        """Yield the files that have the raster's name and an ending, in the place of the raster's own or behind it."""
        path = Path(self.raster.path)
        if os.path.isfile(path):
            for candidate in dict.fromkeys((path.with_name(path.name + ending), path.with_suffix(ending))):
                if candidate != path and os.path.isfile(candidate):
                    yield candidate


@contextmanager
def open_place(path: Path) -> Iterator[LegendPlace]:
    """Open a raster whose legend is wanted.

    Raises:
        UnreadableLegend: if it cannot be opened.
    """
    try:
        with open_dataset(path) as raster:
            yield LegendPlace(raster)
    except (RasterioError, OSError) as error:
        raise UnreadableLegend(f"{path} cannot be read ({one_line(error)})") from None


def read_content(path: Path) -> bytes:
    """The content of a legend file.

    Raises:
        UnreadableLegend: if it cannot be read, is no regular file, or is larger than any legend.
    """
    try:
        return read_bounded(path)
    except OSError as error:
        raise UnreadableLegend(f"{path} cannot be read ({error.strerror})") from None


def read_text(path: Path) -> str:
    """The text of a legend file: UTF-8, else Windows' Western European.

    Raises:
        UnreadableLegend: if it cannot be read.
    """
    content = read_content(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def read_xml(path: Path) -> Element:
    """The root element of a legend file.

    Raises:
        UnreadableLegend: if it cannot be read, or is no XML.
    """
    try:
        return ElementTree.fromstring(read_content(path))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UnreadableLegend(f"{path} is no XML ({one_line(error)})") from None


def whole(text: str | float | None) -> int | None:
    """A whole number from a cell or an attribute, also one written 7.0; None for anything else."""
    try:
        number = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    if not number.is_integer() or abs(number) >= 2**63:
        return None
    try:
        return int(text)  # type: ignore[arg-type]  # exact, where a float would not be
    except ValueError:
        return int(number)


def class_name(text: object) -> str:
    """A name as results show it: one line of visible letters, not too long; "" for none."""
    return visible(" ".join(str("" if text is None else text).split()))[:MOST_LETTERS]


def hex_color(red: float, green: float, blue: float) -> str:
    """A colour as #rrggbb, from parts of 0 to 255; what is beyond is cut off."""
    parts = (min(max(round(part), 0), 255) for part in (red, green, blue))
    return "#{:02x}{:02x}{:02x}".format(*parts)
