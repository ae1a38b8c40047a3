"""Check of a vector file against the class raster it was made from: rasterized again, areas, shared borders.

In: a vector file that was just written, and the raster it was made from. Out: what differs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.core.files import reserve
from geoseg.geo.georef import PixelGrid
from geoseg.raster.class_codes import ClassCodes
from geoseg.raster.strips import Strip, peeked
from geoseg.vector.coverage import is_coverage
from geoseg.vector.formats import format_of
from geoseg.vector.rasterize import burn

PIXEL_PARTS = 2**20
"""Coordinates are rounded to this fraction of a pixel: what a file loses is far smaller, and vertices are multiples of
larger powers of two."""


@dataclass(frozen=True)
class PolygonCheck:
    """Result of comparing a vector file with the raster it was made from."""

    pixels: int
    """Number of pixels that polygons should cover."""
    differing_pixels: int
    """Number of pixels that get another class when the polygons are rasterized."""
    area_ratio: float
    """Total area of the polygons divided by that of the pixels that they should cover; 1 if there are neither."""
    is_coverage: bool
    """Whether neighbours share their borders vertex for vertex: no gap, no overlap."""


def check_polygons(path: Path, strips: Iterator[Strip], grid: PixelGrid, codes: ClassCodes) -> PolygonCheck:
    """Read a vector file back and compare it with the strips of codes that it was made from."""
    dtype, strips = peeked(strips)
    class_id, geometry = format_of(path).read(path)
    polygons = _to_pixels(geometry, grid.transform)
    pixels = differing = 0
    with tempfile.TemporaryFile() as scratch:
        reserve(scratch.fileno(), grid.height * grid.width * dtype.itemsize)
        burnt = np.memmap(scratch, dtype, "r+", shape=(grid.height, grid.width))
        burnt[:] = codes.nodata
        burn(polygons, codes.encode(class_id), burnt)
        for strip in strips:
            pixels += int((strip.ids != codes.nodata).sum())
            differing += int((burnt[strip.row : strip.stop] != strip.ids).sum())
    area = float(shapely.area(polygons).sum())
    return PolygonCheck(pixels, differing, area / pixels if pixels else 1.0, is_coverage(polygons))


def _to_pixels(polygons: NDArray[np.object_], transform: Affine) -> NDArray[np.object_]:
    back: Any = ~transform

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        moved = np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)
        return (moved * PIXEL_PARTS).round() / PIXEL_PARTS

    return np.asarray(shapely.transform(polygons, move))
