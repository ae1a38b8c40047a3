"""Strips: the whole rows in which class rasters are read, from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strip:
    """h consecutive rows of a class raster of W columns."""

    row: int
    """The first row."""
    ids: NDArray[np.uint8]
    """Class ids (h, W)."""
    confidence: NDArray[np.uint8] | None = None
    """Confidence in percent (h, W), or None."""

    @property
    def stop(self) -> int:
        """The row below the last one."""
        return self.row + len(self.ids)
