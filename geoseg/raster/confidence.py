"""Confidence rasters: how sure a class raster is of each pixel, in percent.

In: a raster on the same grid, of whole numbers from 0 to 100, or of probabilities from 0 to 1. Out: percent, window by
window.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.core.errors import SceneError
from geoseg.geo.georef import PixelGrid
from geoseg.raster.class_raster import Percentages, open_raster, placement
from geoseg.spec import NODATA_ID


@dataclass(frozen=True)
class ConfidenceRaster:
    """An open raster of confidence."""

    raster: Any
    """The raster."""
    scale: float
    """Percent of a unit of its values."""

    def read(self, window: RasterioWindow) -> NDArray[np.uint8]:
        """Confidence in percent (h, W), 0 where there is none, as in filled holes.

        Raises:
            SceneError: A value is no confidence.
        """
        values = self.raster.read(1, window=window)
        empty = ~np.isfinite(values) | (values == self.raster.nodata)
        if self.scale == 1:
            empty |= values == NODATA_ID
        values = np.where(empty, 0, values)
        if values.size and (values.min() < 0 or values.max() * self.scale > 100):
            raise SceneError(
                f"{self.raster.name} holds {values.max():g}: confidence goes from 0 to 100 percent, or as fractions "
                "from 0 to 1; pass another raster"
            )
        return np.asarray(np.rint(values * self.scale), np.uint8)


@contextmanager
def open_confidence(path: str | os.PathLike[str] | None, grid: PixelGrid) -> Iterator[Percentages | None]:
    """Open the raster of confidence of a class raster on some grid, to be read window by window; None without a path.

    Raises:
        SceneError: It cannot be read, has several bands, or other pixels than the class raster.
    """
    if path is None:
        yield None
        return
    with open_raster(path) as raster:
        if raster.count != 1:
            raise SceneError(f"{path} has {raster.count} bands: pass the raster of confidence, with a single band")
        transform, crs, _ = placement(raster)
        found = PixelGrid(raster.height, raster.width, transform, crs)
        if not found.same_as(grid):
            raise SceneError(f"{path} is {found}, the classes are {grid}: pass confidence on the same pixels")
        yield ConfidenceRaster(raster, 1 if np.issubdtype(raster.dtypes[0], np.integer) else 100).read
