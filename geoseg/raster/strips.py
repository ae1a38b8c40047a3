"""Strips: the whole rows in which class rasters are read, from top to bottom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strip:
    """h consecutive rows of a class raster of W columns."""

    row: int
    """The first row."""
    ids: NDArray[Any]
    """Codes of classes (h, W), uint8 or int32: class ids, or numbers that stand for other values."""
    confidence: NDArray[np.uint8] | None = None
    """Confidence in percent (h, W), or None."""

    @property
    def stop(self) -> int:
        """The row below the last one."""
        return self.row + len(self.ids)


def peeked(strips: Iterable[Strip]) -> tuple[np.dtype[Any], Iterator[Strip]]:
    """The type of the codes in some strips, uint8 if there are none; and the same strips."""
    strips = iter(strips)
    first = next(strips, None)
    return (np.dtype(np.uint8), strips) if first is None else (first.ids.dtype, chain([first], strips))
