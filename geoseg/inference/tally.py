"""Class indexes become class ids, with pixel counts by row and class. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.spec import NODATA_ID

SMALL_PX = 2**18
"""Pixels that NumPy counts and PyTorch decides in less time than it takes to import a compiler."""


def paint(
    index: NDArray[np.uint8], valid: NDArray[np.bool_], ids: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Class ids (h, w) of class indexes (h, w), 255 where they aren't valid, and pixel counts by row and class (h, K).

    Args:
        index: index of each pixel's class (h, w).
        valid: which pixels hold data (h, w).
        ids: id of each class (K,).
    """
    if index.size <= SMALL_PX:
        return _paint_small(index, valid, ids)
    from geoseg.inference.tally_loop import paint_into  # imports the compiler

    painted = np.full(index.shape, NODATA_ID, np.uint8)
    counts = np.zeros((index.shape[0], len(ids)), np.int32)
    paint_into(index, valid, ids, painted, counts)
    return painted, counts


def _paint_small(
    index: NDArray[np.uint8], valid: NDArray[np.bool_], ids: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The same without a compiled loop: invalid pixels form a further class, which isn't counted."""
    rows, classes = index.shape[0], len(ids) + 1
    index = np.where(valid, index, np.uint8(len(ids)))
    places = index + classes * np.arange(rows)[:, None]
    counts = np.bincount(places.ravel(), minlength=rows * classes).reshape(rows, classes)
    return np.append(ids, np.uint8(NODATA_ID))[index], counts[:, :-1].astype(np.int32)


def count_by_row(painted: NDArray[np.uint8], ids: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Pixel counts by row and class (h, K) of class ids (h, w); other ids are not counted."""
    known = np.isin(painted, ids)
    index = np.zeros(256, np.uint8)
    index[ids] = np.arange(len(ids))
    return paint(index[painted], known, ids)[1]
