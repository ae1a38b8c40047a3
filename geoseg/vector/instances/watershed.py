"""Watershed of one region: a piece for each summit of a landscape that rises high enough above its passes.

In: a landscape over the region, as high as its pixels are far from the border, or sure of their class. Out: the number
of the piece of each pixel. Every step is in an order that the pixels alone decide.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.rows import find

STEPS = np.array([(-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)])
"""Row and column steps to the neighbours of a pixel, those over edges first."""


@compiled
def find_summits(
    height: NDArray[np.float64], inside: NDArray[np.bool_], depth: float, connectivity: int
) -> NDArray[np.int64]:
    """Flat indexes of the summits of a landscape (h, w): maxima of a dynamic of at least `depth` (Grimaud 1992).

    The dynamic of a maximum is its height above the highest pass that leads to a higher one. Pixels are taken from the
    highest down; where two hills meet, the lower one is no summit of its own if it rises less than `depth` above there.
    """
    rows, columns = inside.shape
    levels = height.reshape(-1)
    pixels = np.flatnonzero(inside)
    order = pixels[np.argsort(-levels[pixels], kind="mergesort")]
    parent = np.full(rows * columns, -1, np.int32)
    top = np.empty(rows * columns, np.int32)
    is_summit = np.zeros(rows * columns, np.bool_)
    for pixel in order:
        parent[pixel] = top[pixel] = pixel
        is_summit[pixel] = True
        row, column = pixel // columns, pixel % columns
        for k in range(connectivity):
            r, c = row + STEPS[k, 0], column + STEPS[k, 1]
            if not (0 <= r < rows and 0 <= c < columns) or parent[r * columns + c] < 0:
                continue
            one, other = find(parent, pixel), find(parent, r * columns + c)
            if one == other:
                continue
            if (levels[top[one]], -top[one]) > (levels[top[other]], -top[other]):
                one, other = other, one
            if levels[top[one]] - levels[pixel] < depth:
                is_summit[top[one]] = False
                parent[one] = other
    return np.flatnonzero(is_summit)


@compiled
def flood(
    height: NDArray[np.float64], inside: NDArray[np.bool_], summits: NDArray[np.int64], connectivity: int
) -> NDArray[np.int32]:
    """Number of the piece of each pixel (h, w), from 1 in the order of first pixels, 0 outside (Meyer 1994).

    Pieces grow from the summits, the highest pixel first; of equally high ones the one that was reached first.
    """
    rows, columns = inside.shape
    levels, piece = height.reshape(-1), np.zeros(rows * columns, np.int32)
    waiting = [(-levels[summit], age, summit) for age, summit in enumerate(summits)]
    for age, summit in enumerate(summits):
        piece[summit] = age + 1
    heapq.heapify(waiting)
    age = len(summits)
    while len(waiting):
        _, _, pixel = heapq.heappop(waiting)
        row, column = pixel // columns, pixel % columns
        for k in range(connectivity):
            r, c = row + STEPS[k, 0], column + STEPS[k, 1]
            if 0 <= r < rows and 0 <= c < columns and inside[r, c] and piece[r * columns + c] == 0:
                near = r * columns + c
                piece[near] = piece[pixel]
                heapq.heappush(waiting, (-levels[near], age, near))
                age += 1
    _number_by_first(piece, len(summits))
    return piece.reshape((rows, columns))


@compiled
def _number_by_first(piece: NDArray[np.int32], count: int) -> None:
    """Number pieces in the order of their first pixels."""
    number, found = np.zeros(count + 1, np.int32), 0
    for k in range(len(piece)):
        if piece[k] > 0 and number[piece[k]] == 0:
            found += 1
            number[piece[k]] = found
        piece[k] = number[piece[k]]
