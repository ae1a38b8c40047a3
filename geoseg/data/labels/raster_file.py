"""Open rasters of labels.

In: a raster. Out: the values of its bands, and which of its pixels hold data, window by window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.core.errors import LabelError
from geoseg.core.safe_paths import whole_url
from geoseg.data.labels import LabelSource
from geoseg.geo.crs import horizontal_difference
from geoseg.geo.georef import PixelGrid, grid_of
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.legend import Legend
from geoseg.raster.legends import read_legend
from geoseg.raster.reading import to_rasterio, unreadable
from geoseg.raster.validity import has_mask_of_all_bands, read_mask

Codes = NDArray[np.integer[Any]]
"""Values that stand for classes, of any integer type."""


class RasterFile:
    """An open raster of labels."""

    def __init__(self, source: LabelSource):
        """Open a raster, whatever its grid.

        Raises:
            LabelError: if it cannot be read.
        """
        self.path = source.path
        with ExitStack() as stack:
            self._dataset = stack.enter_context(source.open_raster())
            self.grid = grid_of(self._dataset)
            """Its own grid."""
            with _read_errors(self.path):
                self.is_masked = has_mask_of_all_bands(self._dataset)
            stack.pop_all()

    @property
    def nodata(self) -> int | None:
        """The nodata value of the file, if it has one that is a whole number."""
        value = self._dataset.nodata
        return int(value) if value is not None and float(value).is_integer() else None

    @property
    def legend(self) -> Legend:
        """Names and colours that stand in the file or beside it."""
        return read_legend(self._dataset).legend

    @property
    def palette(self) -> dict[int, tuple[int, ...]] | None:
        """Colours (red, green, blue, ...) by value; None without a palette."""
        try:
            colors: dict[int, tuple[int, ...]] = self._dataset.colormap(1)
        except ValueError:
            return None
        return colors

    def strips(self) -> Iterator[Window]:
        """Yield windows of whole rows that cover the raster."""
        return strip_windows(Window(0, 0, *self._dataset.shape), self._dataset.block_shapes[0][0])

    def read(self, bands: Sequence[int], window: Window) -> Codes:
        """Read some bands (C, h, w) of a window.

        Raises:
            LabelError: if the file is damaged.
        """
        with _read_errors(self.path):
            values: Codes = self._dataset.read(list(bands), window=to_rasterio(window))
        return values

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """Read which pixels (h, w) hold data by the mask of the file.

        Raises:
            LabelError: if the file is damaged.
        """
        with _read_errors(self.path):
            valid = read_mask(self._dataset, 1, to_rasterio(window))
        return valid

    def corner(self, side: int) -> Window:
        """The window of the first `side` rows and columns, or of fewer if there are not so many."""
        return Window(0, 0, side, side).clip(*self._dataset.shape)

    def close(self) -> None:
        """Close the file."""
        self._dataset.close()


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise LabelError(unreadable(error, whole_url(path))) from None


def check_grid(own: PixelGrid, source: LabelSource) -> None:
    """Make sure that labels and image have the same pixel grid, as far as both are georeferenced.

    Raises:
        LabelError: if they have not.
    """
    grid, path, image = source.grid, source.path, source.image
    same_size = (own.height, own.width) == (grid.height, grid.width)
    fits = own.overlays(grid) and None in (own.crs, grid.crs)
    if own.same_as(grid) or fits or (same_size and not (own.is_georeferenced and grid.is_georeferenced)):
        return
    if own.overlays(grid):
        raise LabelError(
            f"{path} is not on the grid of its image {image}: the numbers are the same, the coordinate system is not "
            f"({horizontal_difference(own.crs, grid.crs)}): if one is a mistake, correct it (gdal_edit -a_srs), else "
            "warp the labels onto the image's grid (gdalwarp -r near)"
        )
    raise LabelError(
        f"{path} is not on the grid of its image {image}: {own} against {grid}: "
        "warp the labels onto the image's grid (gdalwarp -r near), or set data.label_resample"
    )
