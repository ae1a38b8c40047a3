"""Class rasters as they are read: strips of whole rows, from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strip:
    """Some rows of a class raster, h of them, W pixels wide."""

    row: int
    """The first row."""
    ids: NDArray[np.uint8]
    """Class ids (h, W)."""
    confidence: NDArray[np.uint8] | None = None
    """Confidence in percent (h, W), if it is known."""

    @property
    def stop(self) -> int:
        """The row below the last one."""
        return self.row + len(self.ids)
