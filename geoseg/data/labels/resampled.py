"""Label rasters on other grids than their images: coarser products, or those in another coordinate system.

In: an open raster of labels, and the grid of its image. Out: values on the image's grid, each that of the raster's
pixel which holds the centre of the image's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.core.errors import LabelError
from geoseg.data.labels.raster_file import Codes, RasterFile, check_grid
from geoseg.data.labels.source import LabelSource
from geoseg.geo.crs import can_transform, crs_name, same_horizontal_crs
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.validity import Mask

Coordinates = NDArray[np.float64]
"""Positions along one axis, of any shape."""
SAMPLES = 33
"""Rows and columns of pixels at which it is looked where a raster lies."""
FINEST = 2.0
"""Most pixels of labels along a pixel of the image: of finer labels most would be left out."""


class _Places(NamedTuple):
    """Where some pixels of an image lie in a raster of labels."""

    rows: NDArray[np.int64]
    """Rows (h, w)."""
    cols: NDArray[np.int64]
    """Columns (h, w)."""
    inside: Mask
    """Which are covered by it (h, w)."""

    @property
    def around(self) -> Window:
        """Window of the raster that holds those inside; one pixel if there are none."""
        if not self.inside.any():
            return Window(0, 0, 1, 1)
        rows, cols = self.rows[self.inside], self.cols[self.inside]
        return Window(int(rows.min()), int(cols.min()), int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1)


class ResampledFile(RasterFile):
    """An open raster of labels, read on the grid of its image."""

    def __init__(self, source: LabelSource):
        """Open a raster.

        Raises:
            LabelError: if it cannot be read, has no place, does not lie on its image, or is much finer.
        """
        super().__init__(source)
        self._image, self.is_masked = source.grid, True
        self._to_labels = _transformation(source, self.grid)
        shown = self._places(*(np.linspace(0, side - 1, SAMPLES) for side in (self._image.height, self._image.width)))
        if not shown.inside.any():
            raise LabelError(f"{source.path} does not lie on its image {source.image}: check the coordinates of both")
        middle = np.array([self._image.height / 2, self._image.width / 2])
        near = self._positions(middle[0] + np.arange(2), middle[1] + np.arange(2))
        if max(np.hypot(*(near[0, 1] - near[0, 0])), np.hypot(*(near[1, 0] - near[0, 0]))) > FINEST:
            raise LabelError(
                f"{source.path} has much smaller pixels than its image {source.image}: warp it onto the image's grid "
                "by the most frequent value (gdalwarp -r mode)"
            )

    def read(self, bands: Sequence[int], window: Window) -> Codes:
        """Read some bands (C, h, w) on a window of the image; of any value where the raster does not reach."""
        places = self._places_of(window)
        around = places.around
        values = super().read(bands, around)
        rows = np.clip(places.rows - around.row, 0, around.height - 1)
        cols = np.clip(places.cols - around.col, 0, around.width - 1)
        return values[:, rows, cols]

    def read_valid(self, window: Window) -> Mask:
        """Read which pixels (h, w) of a window of the image are covered by the raster, and hold data there."""
        places = self._places_of(window)
        around = places.around
        valid = super().read_valid(around)
        rows = np.clip(places.rows - around.row, 0, around.height - 1)
        cols = np.clip(places.cols - around.col, 0, around.width - 1)
        found: Mask = valid[rows, cols] & places.inside
        return found

    def strips(self) -> Iterator[Window]:
        """Yield windows of whole rows that cover the image."""
        return strip_windows(Window(0, 0, self._image.height, self._image.width), 1)

    def corner(self, side: int) -> Window:
        """The window of the first rows and columns of the image."""
        return Window(0, 0, side, side).clip(self._image.height, self._image.width)

    def _places_of(self, window: Window) -> _Places:
        rows, cols = np.arange(window.height, dtype=float), np.arange(window.width, dtype=float)
        return self._places(window.row + rows, window.col + cols)

    def _places(self, rows: Coordinates, cols: Coordinates) -> _Places:
        at = self._positions(rows, cols)
        known = np.asarray(np.isfinite(at).all(axis=2))
        row, col = np.floor(np.where(known[..., None], at, -1)).astype(np.int64).transpose(2, 0, 1)
        inside = (row >= 0) & (row < self.grid.height) & (col >= 0) & (col < self.grid.width)
        return _Places(row, col, inside)

    def _positions(self, rows: Coordinates, cols: Coordinates) -> NDArray[np.float64]:
        """Row and column in the raster (h, w, 2), with fractions, of the centres of an image's pixels."""
        i, j = np.meshgrid(rows + 0.5, cols + 0.5, indexing="ij")
        x, y = self._to_labels(*_applied(self._image.transform, j, i))
        col, row = _applied(~self.grid.transform, x, y)
        return np.stack([row, col], axis=-1)


def _applied(transform: Affine, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def _transformation(
    source: LabelSource, own: PixelGrid
) -> Callable[[Coordinates, Coordinates], tuple[Coordinates, Coordinates]]:
    """The transformation from the coordinates of an image to those of its labels.

    Raises:
        LabelError: if there is none, as one of both has no place.
    """
    are_placed = own.is_georeferenced and source.grid.is_georeferenced
    if are_placed and same_horizontal_crs(own.crs, source.grid.crs):
        return lambda x, y: (x, y)
    if not are_placed or own.crs is None or source.grid.crs is None or not can_transform(source.grid.crs, own.crs):
        raise LabelError(
            f"{source.path} cannot be brought onto the grid of its image {source.image}: there is no transformation "
            f"from {crs_name(source.grid.crs)} to {crs_name(own.crs)}: give both a place and a coordinate system"
        )
    there = Transformer.from_crs(CRS.from_user_input(source.grid.crs), CRS.from_user_input(own.crs), always_xy=True)
    return lambda x, y: there.transform(x, y)


def open_raster_file(source: LabelSource) -> RasterFile:
    """Open a raster of labels; resampled, if the rules say so and it is on another grid than its image.

    Raises:
        LabelError: if it cannot be read, or does not lie on its image as the rules want.
    """
    file = RasterFile(source)
    if file.grid.same_as(source.grid) or not source.rules.resamples:
        try:
            check_grid(file.grid, source)
        except LabelError:
            file.close()
            raise
        return file
    file.close()
    return ResampledFile(source)
