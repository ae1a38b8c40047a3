"""Values of class rasters of any integer type, and whole numbers of floating-point types: read, checked, counted.

In: an open class raster with one band. Out: whole numbers (h, w), a mask of those that are missing, and which numbers
occur how often.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from geoseg.core.errors import SceneError
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.geo.aoi import Area
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.reading import to_rasterio
from geoseg.raster.validity import Mask, has_mask, is_nodata, read_mask
from geoseg.spec import NODATA_ID

Wholes = NDArray[np.integer[Any]]
"""Whole numbers of any integer type."""
HIGHEST = 2**63 - 1
"""Highest value that is kept; the lowest is its opposite."""
MERGED_AT_ONCE = 1 << 20
"""Values that are collected before they are merged with those counted so far."""
COMMON_FILL = -9999, -32768, 65535, -(2**31), 2**32 - 1
"""Values besides 255 that mean nodata in many rasters."""


def read_values(raster: Any, window: RasterioWindow) -> tuple[Wholes, Mask | None]:
    """Values (h, w) of a window, and which of them are missing (h, w) by the file's nodata value, its mask or alpha
    band, or because they are not finite; None where only a nodata value of uint8 may say so.

    Raises:
        SceneError: a value is no whole number, or is too large.
    """
    values = raster.read(1, window=window)
    valid = read_mask(raster, 1, window) if has_mask(raster) else None
    if values.dtype == np.uint8 and valid is None:
        return values, None
    missing = is_nodata(values, raster.nodata)
    if valid is not None:
        missing |= ~valid
    if values.dtype.kind == "f":
        missing |= ~np.isfinite(values)
    return _as_wholes(values, missing, raster.name), missing


def _as_wholes(values: NDArray[Any], missing: Mask, name: str) -> Wholes:
    """Values (h, w) as whole numbers, 0 where they are missing and the type has no room for them."""
    if values.dtype.kind in "iu" and values.dtype != np.uint64:
        return values
    present = np.where(missing, values.dtype.type(0), values)
    if values.dtype.kind == "f" and (broken := present != np.rint(present)).any():
        raise SceneError(f"{name} holds {present[broken][0]:g}: pass a class raster of whole numbers")
    if (large := np.abs(present.astype(np.float64)) >= 2.0**63).any():
        raise SceneError(
            f"{name} holds {present[large][0]:g}, which is beyond {HIGHEST:,}: if it means nodata, say so with "
            "gdal_edit.py -a_nodata, else pass a class raster"
        )
    return present.astype(np.int64)


@dataclass(frozen=True)
class ValueCounts:
    """Which values occur in a class raster, and how often."""

    values: NDArray[np.int64]
    """The values (K,), rising; without those that are missing."""
    pixels: NDArray[np.int64]
    """How many pixels have each (K,)."""

    @classmethod
    def of(cls, values: Wholes) -> ValueCounts:
        """Count values (N,), stretch by stretch: neighbours are alike as a rule."""
        begins = np.flatnonzero(np.concatenate([[len(values) > 0], values[1:] != values[:-1]]))
        return cls._sum(values[begins].astype(np.int64), np.diff(begins, append=len(values)))

    @classmethod
    def joined(cls, parts: Iterable[ValueCounts]) -> ValueCounts:
        """Add up counts."""
        parts = list(parts)
        return cls._sum(np.concatenate([p.values for p in parts]), np.concatenate([p.pixels for p in parts]))

    @classmethod
    def _sum(cls, values: NDArray[np.int64], pixels: NDArray[np.int64]) -> ValueCounts:
        found, where = np.unique(values, return_inverse=True)
        sums = np.zeros(len(found), np.int64)
        np.add.at(sums, where, pixels)
        return cls(found, sums)

    def of_value(self, value: int) -> int:
        """How many pixels have a value."""
        return int(self.pixels[self.values == value].sum())


def count_values(raster: Any, area: Area | None = None, reporter: Reporter = SILENT) -> ValueCounts:
    """Count the valid pixels of each value in one pass. Takes 16 bytes for each value that occurs.

    Args:
        raster: an open class raster.
        area: part of the raster that is counted; all of it by default.
        reporter: gets the progress of `reading`, in pixels.

    Raises:
        SceneError: a value is no whole number, or is too large.
    """
    within = Window(0, 0, *raster.shape) if area is None else area.window
    stage = Stage(reporter, "reading", within.pixels)
    total, waiting = ValueCounts.of(np.zeros(0, np.int64)), []
    for window, found in _counted_strips(raster, within, area):
        waiting.append(found)
        if sum(len(part.values) for part in waiting) > max(MERGED_AT_ONCE, len(total.values)):
            total, waiting = ValueCounts.joined([total, *waiting]), []
        stage.advance(window.pixels)
    total = ValueCounts.joined([total, *waiting])
    own = total.values != raster.nodata if raster.nodata is not None else np.ones(len(total.values), bool)
    return ValueCounts(total.values[own], total.pixels[own])


def _counted_strips(raster: Any, within: Window, area: Area | None) -> Iterator[tuple[Window, ValueCounts]]:
    for window in strip_windows(within, raster.block_shapes[0][0]):
        values, missing = read_values(raster, to_rasterio(window))
        if area is not None:
            outside = ~area.mask(window)
            missing = outside if missing is None else missing | outside
        yield window, _counts(values.ravel() if missing is None else values[~missing])


def _counts(values: Wholes) -> ValueCounts:
    if values.dtype != np.uint8:
        return ValueCounts.of(values)
    counts = np.bincount(values, minlength=NODATA_ID + 1)
    found = np.flatnonzero(counts)
    return ValueCounts(found, counts[found])


def possible_values(raster: Any) -> range:
    """All values that a class raster's type holds."""
    dtype = np.dtype(raster.dtypes[0])
    if dtype.kind not in "iu":
        return range(-HIGHEST, HIGHEST)
    return range(max(np.iinfo(dtype).min, -HIGHEST), min(np.iinfo(dtype).max + 1, HIGHEST))


def unmarked_fill(counts: ValueCounts, raster: Any) -> tuple[int, int] | None:
    """A value that means nodata in many rasters though this one does not say so, and how many pixels have it."""
    if raster.nodata in range(NODATA_ID + 1):
        return None
    is_small = bool(((counts.values >= 0) & (counts.values <= NODATA_ID)).all())
    suspects = (NODATA_ID,) if is_small else COMMON_FILL if raster.nodata is None else ()
    return next(((value, pixels) for value in suspects if (pixels := counts.of_value(value))), None)
