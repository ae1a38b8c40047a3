"""How the values of bands are distributed: counted in one pass, in the same memory at any size.

In: bands of a raster. Out: per band the values that occur, and how often. Values of 8 and 16 bits are counted one by
one. All others are counted as float32 in bins of a fixed relative width (0.2 %), by their first bits, so that a range
need not be known beforehand; a bin stands for the mean of its values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.raster.curves import SMALL, Floats
from geoseg.raster.resample import Bands
from geoseg.raster.validity import Mask, Values

_SIDE = 512
"""Side of a block that is read at once."""
MOST_PX = 256 * _SIDE**2
"""Pixels that are read at most, in evenly spread blocks; of smaller rasters all are."""
_FEWEST_PX = 2**16
"""Pixels with data below which all blocks are read: nearly all of the raster is empty."""
_FLOAT_BITS, _SIGN = 18, np.uint32(2**31)
"""First bits of a float32 that name its bin: sign, exponent, nine of the fraction."""


@dataclass(frozen=True)
class Distribution:
    """The values of one band."""

    values: Floats
    """Those that occur (n,), ascending; n is 0 where no pixel holds data."""
    counts: Floats
    """How often each does (n,)."""
    limits: tuple[float, float]
    """Lowest and highest value of its type; infinite for all but whole numbers of 8 and 16 bits."""

    @property
    def mean(self) -> float:
        """Mean value."""
        return float(np.average(self.values, weights=self.counts))

    @property
    def deviation(self) -> float:
        """Standard deviation."""
        return float(np.sqrt(np.average((self.values - self.mean) ** 2, weights=self.counts)))

    @property
    def ranks(self) -> Floats:
        """Share of pixels below each value and of half of those that have it (n,), 0 to 1, ascending."""
        ranks: Floats = (np.cumsum(self.counts) - self.counts / 2) / self.counts.sum()
        return ranks


def find_distributions(bands: Bands, dtype: str) -> tuple[Distribution, ...]:
    """Count the values with data of each band: of all pixels, or of `MOST_PX` evenly spread ones of larger rasters.

    Args:
        bands: the bands.
        dtype: type of their values.

    Raises:
        SceneError: if the file is damaged in one of the places that are read.
    """
    blocks = _Blocks.of(bands)
    found = _count(bands, dtype, blocks.spread())
    if blocks.count > blocks.most and found[0, 0].sum() < _FEWEST_PX:
        found = _count(bands, dtype, blocks.every())
    return _distributions(found, dtype)


def distributions_of(parts: Iterable[tuple[Values, Mask]], bands: int, dtype: str) -> tuple[Distribution, ...]:
    """Count the values with data of each band in some parts of rasters.

    Args:
        parts: values (C, h, w), and which pixels hold data (h, w).
        bands: number of bands (C).
        dtype: type of their values.
    """
    return _distributions(_count_parts(parts, bands, dtype), dtype)


def _distributions(found: Floats, dtype: str) -> tuple[Distribution, ...]:
    """The distributions with some numbers and sums of values (C, 2, bins) in each bin."""
    limits = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype in SMALL else (-np.inf, np.inf)
    return tuple(
        Distribution(sums[counts > 0] / counts[counts > 0], counts[counts > 0], limits) for counts, sums in found
    )


@dataclass(frozen=True)
class _Blocks:
    """A raster cut into blocks in the order of its file: squares, or strips where a row lies in one block."""

    height: int
    width: int
    block_height: int
    block_width: int

    @classmethod
    def of(cls, bands: Bands) -> _Blocks:
        """Cut a raster."""
        if bands.has_wide_blocks:
            return cls(bands.height, bands.width, max(1, _SIDE**2 // bands.width), bands.width)
        return cls(bands.height, bands.width, _SIDE, _SIDE)

    @property
    def rows(self) -> int:
        """Number of rows of blocks."""
        return -(-self.height // self.block_height)

    @property
    def cols(self) -> int:
        """Number of columns of blocks."""
        return -(-self.width // self.block_width)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.rows * self.cols

    @property
    def most(self) -> int:
        """Number of blocks that are read at most."""
        return max(1, MOST_PX // (self.block_height * self.block_width))

    def every(self) -> Iterable[Window]:
        """All blocks."""
        return (self._window(row, col) for row, col in product(range(self.rows), range(self.cols)))

    def spread(self) -> Iterable[Window]:
        """All blocks, or some of more than `most`, evenly spread and each once."""
        if self.count <= self.most:
            return self.every()
        cols = min(self.cols, max(int(self.most**0.5), self.most // self.rows))
        rows = min(self.rows, self.most // cols)
        places = product(_evenly(self.rows, rows), _evenly(self.cols, cols))
        return (self._window(row, col) for row, col in places)

    def _window(self, row: int, col: int) -> Window:
        top, left = row * self.block_height, col * self.block_width
        return Window(top, left, min(self.block_height, self.height - top), min(self.block_width, self.width - left))


def _evenly(size: int, count: int) -> list[int]:
    return [(2 * i + 1) * size // (2 * count) for i in range(count)]


def _count(bands: Bands, dtype: str, windows: Iterable[Window]) -> Floats:
    """Number and sum of the values (C, 2, bins) in each bin."""
    return _count_parts(map(bands.read, windows), len(bands.bands), dtype)


def _count_parts(parts: Iterable[tuple[Values, Mask]], bands: int, dtype: str) -> Floats:
    bins = 2 ** (8 * np.dtype(dtype).itemsize) if dtype in SMALL else 2**_FLOAT_BITS
    found = np.zeros((bands, 2, bins))
    for image, valid in parts:
        for (counts, sums), band in zip(found, image, strict=True):
            held = band[valid]
            index = _bins(held, dtype)
            counts += np.bincount(index, minlength=bins)
            sums += np.bincount(index, weights=held, minlength=bins)
    return found


def _bins(values: NDArray[np.generic], dtype: str) -> NDArray[np.intp]:
    """The bin of each value, in the order of the values."""
    if dtype in SMALL:
        return values.astype(np.intp) - np.iinfo(dtype).min
    bits = (values.astype(np.float32) + np.float32(0)).view(np.uint32)  # no negative zero
    ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
    return (ordered >> np.uint32(32 - _FLOAT_BITS)).astype(np.intp)
