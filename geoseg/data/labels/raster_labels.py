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

from geoseg.core.errors import LabelError
from geoseg.data.labels.background import Background
from geoseg.data.labels.features import NO_FEATURES, Features
from geoseg.data.labels.raster_file import Codes, RasterFile
from geoseg.data.labels.resampled import open_raster_file
from geoseg.data.labels.source import LabelSource
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, NODATA_ID

UNKNOWN = 254
"""Index of a value that stands for no class; there are 254 classes at most."""


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


class RasterLabels:
    """Labels in a raster."""

    def __init__(self, source: LabelSource, coding: Callable[[LabelSource, RasterFile], Coding]):
        """Open a raster, and derive the coding from it.

        Raises:
            LabelError: if it cannot be read, is not on its image's grid, or is not coded as the rules say.
            SpecError: if the rules make no sense.
        """
        self._file = open_raster_file(source)
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
