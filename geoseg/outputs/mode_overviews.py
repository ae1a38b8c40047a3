"""Overviews of a class raster: the most frequent class of every four pixels, level by level.

In: a raster of 8-bit classes. Out: rasters of half, a quarter, ... of its sides, and a VRT that shows it with them.
GDAL makes nearly the same by itself, in several times the time.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from rasterio.shutil import copy as copy_raster

from geoseg.core.files import quiet_georeferencing, write_errors
from geoseg.geo.grid import Window
from geoseg.outputs.geotiff import BLOCK, PartRaster, RasterFormat
from geoseg.raster.reading import to_rasterio

OVERVIEW_PX = 2**24
"""Most pixels that are held at once."""


def write_mode_overviews(raster: Path, layout: RasterFormat) -> Path:
    """Write the overviews of a class raster beside it, and a VRT that shows it with them; return the VRT's path.

    A raster that needs none is returned itself.

    Raises:
        OutputError: if they cannot be written.
    """
    shown = raster.with_suffix(".overviews.vrt")
    with write_errors(raster.parent.parent), quiet_georeferencing():
        shown.unlink(missing_ok=True)  # GDAL would remove what it shows, too
        levels = _write_levels(raster, layout)
        if not levels:
            return raster
        copy_raster(str(raster), str(shown), driver="VRT")
        tree = ElementTree.parse(shown)
        for band in tree.iter("VRTRasterBand"):
            band.extend(_overview(level) for level in levels)
        tree.write(shown)
    return shown


def _write_levels(raster: Path, layout: RasterFormat) -> list[Path]:
    levels: list[Path] = []
    with rasterio.open(raster) as dataset:
        height, width = dataset.height, dataset.width
    while max(height, width) > BLOCK:
        height, width = -(-height // 2), -(-width // 2)
        level = raster.with_suffix(f".overview{len(levels)}.tif")
        _write_half(levels[-1] if levels else raster, level, (height, width), layout)
        levels.append(level)
    return levels


def _write_half(finer: Path, path: Path, size: tuple[int, int], layout: RasterFormat) -> None:
    """Write a level of a size (rows, columns) from the next finer one."""
    from geoseg.outputs.mode_loop import modes_into  # imports the compiler

    height, width = size
    rows = max(64, OVERVIEW_PX // (4 * width) // BLOCK * BLOCK)
    with rasterio.open(finer) as source, PartRaster(path, size, layout) as target:
        for row in range(0, height, rows):
            window = Window(row, 0, min(rows, height - row), width)
            above = Window(2 * row, 0, min(2 * rows, source.height - 2 * row), source.width)
            block = np.empty((window.height, width), np.uint8)
            modes_into(source.read(1, window=to_rasterio(above)), int(layout.nodata), block)
            target.write(window, block)


def _overview(level: Path) -> ElementTree.Element:
    """A raster as an overview of a band of a VRT beside it."""
    overview = ElementTree.Element("Overview")
    ElementTree.SubElement(overview, "SourceFilename", relativeToVRT="1").text = level.name
    ElementTree.SubElement(overview, "SourceBand").text = "1"
    return overview
