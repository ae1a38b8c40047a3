"""Class ids and counts of many pixels, in a loop that is compiled. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def paint_into(
    index: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    ids: NDArray[np.uint8],
    painted: NDArray[np.uint8],
    counts: NDArray[np.int32],
) -> None:
    """Fill in the ids of valid pixels and count them."""
    for row in range(index.shape[0]):
        for col in range(index.shape[1]):
            if valid[row, col]:
                k = index[row, col]
                painted[row, col] = ids[k]
                counts[row, k] += 1
