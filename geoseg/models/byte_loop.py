"""Values of bytes from a table, in a loop that is compiled. A pure function on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def look_up_into(image: NDArray[np.uint8], table: NDArray[np.float32], found: NDArray[np.float32]) -> None:
    """Fill in the value of each byte.

    Args:
        image: bytes (C, h, w).
        table: values by band and byte (C, 256).
        found: their values (h, w, C).
    """
    for y in range(image.shape[1]):
        for band in range(image.shape[0]):
            given, values, row = image[band, y], table[band], found[y]
            for x in range(len(given)):
                row[x, band] = values[given[x]]
