"""Labels that are rasters, with any coding of the classes.

In: a raster on its image's grid, and the coding of its values. Out: class indexes (h, w), window by window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.core.errors import LabelError
from geoseg.core.safe_paths import whole_url
from geoseg.data.labels.background import Background
from geoseg.data.labels.features import NO_FEATURES, Features
from geoseg.data.labels.source import LabelSource
from geoseg.geo.crs import horizontal_difference
from geoseg.geo.georef import PixelGrid, grid_of
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.legend import Legend
from geoseg.raster.legends import read_legend
from geoseg.raster.reading import to_rasterio, unreadable
from geoseg.raster.validity import has_mask_of_all_bands, read_mask
from geoseg.spec import IGNORE, NODATA_ID

UNKNOWN = 254
"""Index of a value that stands for no class; there are 254 classes at most."""
Codes = NDArray[np.integer[Any]]
"""Values that stand for classes, of any integer type."""


NOT_FINITE = -(2**63)
"""Stands for NaN, infinity and fill among whole numbers of floating-point types."""
SPAN_PX = 2**16
"""Largest span of values whose classes are found in a table; others are found one by one."""


class Coding(Protocol):
    """How the values of a raster stand for classes."""

    @property
    def bands(self) -> Sequence[int]:
        """Numbers of the C bands that are read, counted from 1."""
        ...

    @property
    def leaves_out_255(self) -> bool:
        """Whether the value 255 is taken as not labelled though neither the file nor the rules say so."""
        ...

    @property
    def unlabelled(self) -> Sequence[int]:
        """Values of pixels without a label, by the file or by custom, that no rule names."""
        ...

    def values(self, bands: Codes) -> Codes:
        """The value of each pixel (h, w) that stands for its class, from the bands (C, h, w).

        Raises:
            ValueError: if a value cannot stand for any.
        """
        ...

    def indexes(self, values: Codes) -> NDArray[np.uint8]:
        """Class indexes of values (h, w), UNKNOWN for those that stand for no class."""
        ...

    def complaint(self, values: Codes) -> str:
        """The error text for values (N,) that stand for no class, with what to do."""
        ...


class RasterFile:
    """An open raster of labels."""

    def __init__(self, source: LabelSource):
        """Open a raster.

        Raises:
            LabelError: if it cannot be read, or is not on the grid of its image.
        """
        self.path = source.path
        with ExitStack() as stack:
            self._dataset = stack.enter_context(source.open_raster())
            _check_grid(grid_of(self._dataset), source.grid, source.path, source.image)
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


class RasterLabels:
    """Labels in a raster."""

    def __init__(self, source: LabelSource, coding: Callable[[LabelSource, RasterFile], Coding]):
        """Open a raster, and derive the coding from it.

        Raises:
            LabelError: if it cannot be read, is not on its image's grid, or is not coded as the rules say.
            SpecError: if the rules make no sense.
        """
        self._file = RasterFile(source)
        with ExitStack() as stack:
            stack.callback(self._file.close)
            self._coding = coding(source, self._file)
            self._background = Background.of(source.rules, source.classes, source.grid)
            stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class indexes (h, w) of a window.

        Raises:
            LabelError: if the file is damaged, or a value stands for no class.
        """
        with _named(self._file.path):
            values = self._coding.values(self._file.read(self._coding.bands, window))
        indexes = self._coding.indexes(values)
        if self._file.is_masked:
            indexes[~self._file.read_valid(window)] = IGNORE
        if self._background.index != IGNORE:
            self._fill(indexes, values, window)
        unknown = indexes == UNKNOWN
        if unknown.any():
            raise LabelError(f"{self._file.path}: {self._coding.complaint(values[unknown])}")
        return indexes

    def features(self) -> Features:
        """None: the file does not say which pixels were labelled together."""
        return NO_FEATURES

    def _fill(self, indexes: NDArray[np.uint8], values: Codes, window: Window) -> None:
        """Give the background to the pixels (h, w) that are not labelled, but not to those that rules leave out."""
        bare = np.isin(values, self._coding.unlabelled)
        if self._file.is_masked:
            bare |= ~self._file.read_valid(window)
        indexes[bare] = self._background.read(window)[bare]

    def unmarked_px(self) -> int:
        """Count the pixels that are not labelled only for their value 255, in a pass of its own."""
        return sum(map(self._unmarked_in, self._file.strips())) if self._coding.leaves_out_255 else 0

    def disputed(self) -> Counter[str]:
        """No pixel: each has one value."""
        return Counter()

    def _unmarked_in(self, window: Window) -> int:
        found = self._file.read((1,), window)[0] == NODATA_ID
        if found.any() and self._file.is_masked:
            found &= self._file.read_valid(window)
        return int(np.count_nonzero(found))


def as_integers(values: NDArray[Any], nodata: int | None) -> Codes:
    """Values (h, w) of a band as integers; of floating-point types, NOT_FINITE where they are not finite, or nodata.

    Raises:
        ValueError: if one has a fraction.
    """
    if values.dtype.kind in "iu":
        return values
    missing = ~np.isfinite(values)
    if nodata is not None:
        missing |= values == nodata
    present = np.where(missing, 0, values).astype(np.float64)
    if (broken := (present != np.rint(present)) | (np.abs(present) >= -float(NOT_FINITE))).any():
        raise ValueError(f"{present[broken][0]:g} is no whole number: labels are class ids")
    integers = present.astype(np.int64)
    integers[missing] = NOT_FINITE
    return integers


def indexes_of(values: Codes, index_of: Mapping[int, int], other: int) -> NDArray[np.uint8]:
    """Class indexes (h, w) of values, given those of the known ones and that of all others."""
    first, last = int(values.min()), int(values.max())
    if last - first < SPAN_PX:
        keys, places = np.arange(first, last + 1), values.astype(np.int64) - first
    else:
        keys, places = np.unique(values, return_inverse=True)
    table = np.array([index_of.get(int(key), other) for key in keys], np.uint8)
    found: NDArray[np.uint8] = table[places].reshape(values.shape)
    return found


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in errors about its values."""
    try:
        yield
    except ValueError as error:
        raise LabelError(f"{path}: {error}") from None


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise LabelError(unreadable(error, whole_url(path))) from None


def _check_grid(own: PixelGrid, grid: PixelGrid, path: Path, image: Path) -> None:
    """Make sure that labels and image have the same pixel grid, as far as both are georeferenced."""
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
        "warp the labels onto the image's grid (gdalwarp -r near)"
    )
