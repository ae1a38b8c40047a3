"""Class rasters as they are read: strips of whole rows, from top to bottom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Strip = tuple[int, NDArray[np.uint8], NDArray[np.uint8] | None]
"""First row, class ids (h, W), confidence (h, W) or None."""
