"""Codes of class rasters: small numbers that stand for the values of the file while its regions are found.

A uint8 raster is its own code. Values of any other type, CORINE's 111 to 523 or the numbers of a million segments, are
numbered as they rise, so that what counts or compares classes needs a table of no more entries than there are values.

In: an open class raster. Out: codes (h, W) for values (h, W), and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import SceneError
from geoseg.core.events import SILENT, Reporter
from geoseg.geo.aoi import Area
from geoseg.raster.class_values import ValueCounts, Wholes, count_values, unmarked_fill
from geoseg.raster.validity import Mask
from geoseg.spec import NODATA_ID

Codes = NDArray[np.integer[Any]]
"""Codes of classes (h, W), uint8 or int32."""
MOST_TABLED = 1 << 20
"""Largest difference of values that are looked up in a table; others are searched."""


class ClassCodes(Protocol):
    """How the values of a class raster are numbered."""

    @property
    def nodata(self) -> int:
        """The code of pixels without data."""
        ...

    @property
    def values(self) -> NDArray[np.int64]:
        """The value of each code but nodata's own (K,), rising."""
        ...

    def encode(self, values: Wholes, missing: Mask | None = None) -> Codes:
        """Codes of values (...) of the raster; nodata where they are missing (...)."""
        ...

    def decode(self, codes: Wholes) -> Wholes:
        """Values of codes (N,), none of which is nodata."""
        ...


@dataclass(frozen=True)
class ByteCodes:
    """Values from 0 to 255 are their own codes."""

    nodata: int = NODATA_ID
    """A value that no pixel with data has."""

    @property
    def values(self) -> NDArray[np.int64]:
        """All values of a byte (256,)."""
        return np.arange(NODATA_ID + 1)

    def encode(self, values: Wholes, missing: Mask | None = None) -> NDArray[np.uint8]:
        """The values themselves."""
        ids = values.astype(np.uint8, copy=missing is not None)
        if missing is not None:
            ids[missing] = self.nodata
        return ids

    def decode(self, codes: Wholes) -> Wholes:
        """The codes themselves."""
        return codes


@dataclass(frozen=True)
class RankCodes:
    """The code of a value is the number of lower values that occur; uint8 up to 255 values, else int32."""

    values: NDArray[np.int64]
    """The values that occur (K,), rising."""

    @property
    def nodata(self) -> int:
        """The code above all others."""
        return len(self.values)

    def encode(self, values: Wholes, missing: Mask | None = None) -> Codes:
        """Ranks of values; one that does not occur gets the code of nodata."""
        codes = self._looked_up(values) if self._table is not None else self._searched(values)
        if missing is not None:
            codes[missing] = self.nodata
        return codes

    def decode(self, codes: Wholes) -> Wholes:
        """Values of ranks."""
        return self.values[codes]

    @property
    def _dtype(self) -> type[np.uint8] | type[np.int32]:
        return np.uint8 if len(self.values) <= NODATA_ID else np.int32

    @cached_property
    def _table(self) -> Codes | None:
        """Codes of all values from the lowest to the highest, and of one beyond each; None if these are too many."""
        if not len(self.values) or self.values[-1] - self.values[0] > MOST_TABLED:
            return None
        table = np.full(self.values[-1] - self.values[0] + 3, self.nodata, self._dtype)
        table[self.values - self.values[0] + 1] = np.arange(len(self.values))
        return table

    def _looked_up(self, values: Wholes) -> Codes:
        low, high = self.values[0] - 1, self.values[-1] + 1
        assert self._table is not None  # chosen by it
        found: Codes = self._table[np.clip(values, low, high).astype(np.int64) - low]
        return found

    def _searched(self, values: Wholes) -> Codes:
        """Codes by binary search, once for each stretch of equal values."""
        flat = values.reshape(-1)
        if not len(self.values) or not len(flat):
            return np.full(values.shape, self.nodata, self._dtype)
        begins = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
        wanted = flat[begins].astype(np.int64)
        ranks = np.minimum(np.searchsorted(self.values, wanted), len(self.values) - 1)
        ranks = np.where(self.values[ranks] == wanted, ranks, self.nodata).astype(self._dtype)
        codes: Codes = np.repeat(ranks, np.diff(begins, append=len(flat))).reshape(values.shape)
        return codes


@dataclass(frozen=True)
class CodedClasses:
    """How an open class raster is read."""

    codes: ClassCodes
    """Codes of its values."""
    counts: ValueCounts | None
    """Which values occur; None if they were not counted."""
    fill: tuple[int, int] | None
    """A value that is a class here and means nodata in many rasters, and how many pixels have it."""


def find_codes(
    raster: Any, area: Area | None = None, *, counted: bool = False, reporter: Reporter = SILENT
) -> CodedClasses:
    """Number the values of a class raster; a uint8 raster with a nodata value is not read for it.

    Args:
        raster: an open class raster.
        area: part of the raster that matters.
        counted: whether values are counted in any case.
        reporter: gets the progress of `reading`, in pixels.

    Raises:
        SceneError: a value is no whole number, or all values of a byte occur.
    """
    is_byte, own = raster.dtypes[0] == "uint8", own_nodata(raster)
    if is_byte and own is not None and not counted:
        return CodedClasses(ByteCodes(own), None, None)
    counts = count_values(raster, area, reporter)
    fill = unmarked_fill(counts, raster)
    if is_byte:
        return CodedClasses(ByteCodes(free_id(counts.values) if own is None else own), counts, fill)
    return CodedClasses(RankCodes(counts.values), counts, fill)


def own_nodata(raster: Any) -> int | None:
    """The nodata value of a raster; None if it has none, or one that is no class id of a byte."""
    return int(raster.nodata) if raster.nodata in range(256) else None


def free_id(values: NDArray[np.int64]) -> int:
    """The highest value of a byte that is not among some values (K,), as id of nodata.

    Raises:
        SceneError: There is none.
    """
    free = np.setdiff1d(np.arange(NODATA_ID + 1), values)
    if not len(free):
        raise SceneError("all 256 values occur, so that none stands for nodata: pass a class raster, not an image")
    return int(free[-1])
