"""Class indexes become class ids, counted on the way. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import NODATA_ID
from geoseg.vector.trace.state import compiled


def paint(
    index: NDArray[np.uint8], valid: NDArray[np.bool_], ids: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Class ids (h, w) of class indexes (h, w), nodata where they aren't valid, and pixels by row and class (h, K).

    Args:
        index: index of the class of each pixel.
        valid: which pixels hold data.
        ids: id of each class (K,).
    """
    painted = np.full(index.shape, NODATA_ID, np.uint8)
    counts = np.zeros((index.shape[0], len(ids)), np.int32)
    _paint(index, valid, ids, painted, counts)
    return painted, counts


def count_by_row(painted: NDArray[np.uint8], ids: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Pixels by row and class (h, K) of class ids (h, w); other ids count nowhere."""
    known = np.isin(painted, ids)
    index = np.zeros(256, np.uint8)
    index[ids] = np.arange(len(ids))
    return paint(index[painted], known, ids)[1]


@compiled
def _paint(
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
