"""Majority filter: each pixel gets the most frequent class of the square around it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace

import numpy as np

from geoseg.core.compiler import compiled
from geoseg.raster.strips import Strip, peeked
from geoseg.vector.trace.state import Ids


def majority_filter(strips: Iterable[Strip], side: int, nodata: int) -> Iterator[Strip]:
    """Filter a class raster that comes in strips, top to bottom.

    Pixels without data stay so and do not count; of several most frequent classes the pixel keeps its own if it is one
    of them, else it gets the lowest. At the edge fewer pixels count.

    Args:
        strips: the raster.
        side: side of the square in pixels, an odd number.
        nodata: id of pixels without data.
    """
    reach = side // 2
    held: list[Strip] = []  # strips with rows that need rows below them
    dtype, strips = peeked(strips)
    above: Ids = np.empty((0, 0), dtype)
    for strip in strips:
        held.append(strip)
        while len(held) > 1 and sum(len(other.ids) for other in held[1:]) >= reach:
            above = yield from _filtered(above, held, reach, nodata)
    while held:
        above = yield from _filtered(above, held, reach, nodata)


def _filtered(above: Ids, held: list[Strip], reach: int, nodata: int) -> Generator[Strip, None, Ids]:
    """Yield the first strip filtered, take it off the list, and return the rows above the next one."""
    strip = held.pop(0)
    ids, below = strip.ids, [other.ids for other in held]
    rows = np.concatenate([above.reshape(-1, ids.shape[1]), ids, *below])
    top = len(above)
    yield replace(strip, ids=_vote(rows, top, len(ids), reach, nodata))
    return rows[max(0, top + len(ids) - reach) : top + len(ids)]


@compiled
def _vote(rows: Ids, top: int, count: int, reach: int, nodata: int) -> Ids:
    """Filter `count` rows from row `top` on."""
    height, width = rows.shape
    result = np.empty((count, width), rows.dtype)
    votes = np.zeros(max(int(rows.max()), nodata) + 1, np.int32)
    for i in range(count):
        first, last = max(0, top + i - reach), min(height, top + i + reach + 1)
        for column in range(width):
            own = rows[top + i, column]
            result[i, column] = own
            if own == nodata:
                continue
            left, right = max(0, column - reach), min(width, column + reach + 1)
            for r in range(first, last):
                for c in range(left, right):
                    votes[rows[r, c]] += 1
            votes[nodata] = 0
            best = own
            for r in range(first, last):
                for c in range(left, right):
                    other = rows[r, c]
                    if votes[other] > votes[best] or (votes[other] == votes[best] and best != own and other < best):
                        best = other
            result[i, column] = best
            for r in range(first, last):
                for c in range(left, right):
                    votes[rows[r, c]] = 0
    return result
