"""Splitting of regions that several objects share, each region as a whole, so that no strip decides where."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.instances.distance import squared_distances
from geoseg.vector.instances.watershed import find_summits, flood

MOST_SPLIT_PX = 1 << 24
"""Most pixels of the bounding box of a region that is split, 4,096 squared: about 1 GB of memory."""


@compiled
def split_regions(
    ids: NDArray[np.uint32],
    percent: NDArray[np.uint8],
    boxes: NDArray[np.int32],
    depth: float,
    connectivity: int,
    most_px: int,
) -> NDArray[np.int64]:
    """Split N regions in place; return the number of pieces of each (N,), 0 for one too large to be split.

    The first piece of a region keeps its number, others get the next ones from N + 1 on.

    Args:
        ids: numbers of the regions (H, W), from 1.
        percent: landscape (H, W), or without a pixel: the distance to the border is the landscape then.
        boxes: bounding boxes of the regions (N, 4).
        depth: least dynamic of a piece's summit, in percent or in pixel sides.
        connectivity: 4 or 8.
        most_px: most pixels of a box.
    """
    count, following = np.ones(len(boxes), np.int64), len(boxes) + 1
    for k in range(len(boxes)):
        top, left, bottom, right = boxes[k]
        if np.int64(bottom - top) * np.int64(right - left) > most_px:
            count[k] = 0
            continue
        inside = ids[top:bottom, left:right] == k + 1
        if percent.size:
            height = np.where(inside, percent[top:bottom, left:right], 0).astype(np.float64)
        else:
            height = np.sqrt(squared_distances(inside))
        summits = find_summits(height, inside, depth, connectivity)
        if len(summits) < 2:
            continue
        pieces = flood(height, inside, summits, connectivity)
        count[k] = len(summits)
        for row in range(bottom - top):
            for column in range(right - left):
                if pieces[row, column] > 1:
                    ids[top + row, left + column] = following + pieces[row, column] - 2
        following += len(summits) - 1
    return count
