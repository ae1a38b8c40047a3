"""A change of values by a curve per band: linear between knots, constant beyond the outermost."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SMALL = "uint8", "int8", "uint16", "int16"
"""Types with so few values that each has a place in a table."""


@dataclass(frozen=True)
class Curve:
    """What becomes of the values of one band."""

    values: Floats
    """Values (n,), ascending."""
    onto: Floats
    """What becomes of them (n,)."""

    def apply(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Convert values of any shape; NaN stays NaN."""
        return np.interp(values.astype(np.float64), self.values, self.onto).astype(np.float32)


@dataclass(frozen=True)
class Curves:
    """A curve for each band."""

    curves: tuple[Curve, ...]
    """The curves, in the order of the bands."""
    dtype: str
    """Type of most values that are converted."""

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Convert values (C, h, w)."""
        changed = np.empty(image.shape, np.float32)
        for index, band in enumerate(image):
            if image.dtype == self.dtype and self.dtype in SMALL:
                np.take(self._tables[index], band.astype(np.intp) - np.iinfo(self.dtype).min, out=changed[index])
            else:
                changed[index] = self.curves[index].apply(band)
        return changed

    @property
    def digest(self) -> str:
        """Digest of the curves."""
        found = hashlib.sha256()
        for curve in self.curves:
            found.update(curve.values.tobytes() + b"|" + curve.onto.tobytes())
        return found.hexdigest()

    @cached_property
    def _tables(self) -> list[NDArray[np.float32]]:
        """What becomes of every value of a small type, per band."""
        limits = np.iinfo(self.dtype)
        every = np.arange(limits.min, limits.max + 1)
        return [curve.apply(every) for curve in self.curves]
