"""The protocol of open rasters: one file, or the bands of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.geo.georef import PixelGrid

T = TypeVar("T")


class OpenRaster(Protocol):
    """A raster open for reading, by several threads at once; its metadata are the attributes of rasterio's dataset."""

    @property
    def drivers(self) -> tuple[str, ...]:
        """GDAL's name of the format of each of its files."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    @property
    def files(self) -> Sequence[str]:
        """All files that it consists of."""
        ...

    @property
    def block_shapes(self) -> Sequence[tuple[int, int]]:
        """Height and width of the files' blocks, per band."""
        ...

    def resamples(self, bands: Sequence[int]) -> bool:
        """Whether any of some bands (from 1) is resampled when it is read, and so is float32."""
        ...

    def read(self, indexes: int | Sequence[int], window: RasterioWindow, **options: Any) -> NDArray[Any]:
        """Read one band (h, w) or several (C, h, w)."""
        ...

    def read_valid(
        self, bands: Sequence[int], window: RasterioWindow, **options: Any
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands (C, h, w), and which pixels hold data (h, w) as far as each of several files has its own marks."""
        ...

    def read_masks(self, indexes: int, window: RasterioWindow, **options: Any) -> NDArray[np.uint8]:
        """Read the mask of a band (h, w): 0 where there is no data."""
        ...

    def on_grid(self, grid: PixelGrid) -> Self:
        """The same bands on another pixel grid, if they are resampled at all."""
        ...

    def marked(self, nodata: float) -> Self:
        """The same raster with another value that marks missing data, if its files have their own marks."""
        ...

    def tags(self, *arguments: Any, **options: Any) -> dict[str, str]:
        """Tags, as rasterio gives them."""
        ...

    def ask(self, question: Callable[[Any], T]) -> T:
        """Call a function with a dataset, for metadata that it reads from the file."""
        ...

    def close(self) -> None:
        """Close all files."""
        ...
