"""Area averaging: values of coarse pixels from finer ones.

In: values of pixels, the fraction of each that holds data, and the borders of the coarse pixels among them. Out: means,
in which a pixel is weighted by the area that it has in common with the coarse pixel, and by its fraction of data. Reads
nothing.

Edge coordinates: pixel i covers [i, i + 1). A border may cut a pixel. In `area_sums` a cut pixel has one value all over
it, in `area_means` it has the slope of its neighbours: constant pixels would shift a ramp by up to an eighth of a pixel
of the averaged raster, which is much where one coarse level is averaged from another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Weighted = NDArray[np.float32]
"""Band values, and as last channel the fraction of each pixel that holds data (C + 1, h, w); values are 0 where that
is 0."""
Edges = NDArray[np.float64]
"""Borders (n + 1,) of n successive coarse pixels along one axis, at least 1 apart, in pixels of the averaged raster."""


def area_means(weighted: Weighted, rows: Edges, cols: Edges) -> Weighted:
    """Average over coarse pixels.

    Args:
        weighted: the values to average (C + 1, h, w); they are overwritten.
        rows: borders of n rows of coarse pixels.
        cols: borders of m columns of coarse pixels.

    Returns:
        Means and fractions of data of the coarse pixels (C + 1, n, m).
    """
    if weighted[-1].min() < 1:
        weighted[:-1] *= weighted[-1]
    means = _pooled(weighted, rows, cols) if is_even(rows) and is_even(cols) else _cut_means(weighted, rows, cols)
    np.divide(means[:-1], means[-1], out=means[:-1], where=means[-1] > 0)
    return means


def area_sums(
    values: NDArray[np.floating], edges: Edges, axis: int, dtype: DTypeLike = np.float32
) -> NDArray[np.floating]:
    """Sum values between successive borders along one axis; a pixel cut by a border counts on both sides in part.

    Args:
        values: the values to sum; they reach from the first border to the last, or beyond.
        edges: the borders (n + 1,).
        axis: the axis, whose length becomes n.
        dtype: type of the sums.
    """
    length = values.shape[axis]
    whole = np.minimum(np.floor(edges + 1e-9).astype(int), length)
    part = np.maximum(edges - whole, 0).astype(dtype)
    inner = values.take(range(whole[-1]), axis) if whole[-1] < length else values
    sums = np.add.reduceat(inner, whole[:-1], axis, dtype=dtype)
    shape = [1] * values.ndim
    shape[axis] = -1
    after = values.take(np.minimum(whole[1:], length - 1), axis) * part[1:].reshape(shape)
    before = values.take(whole[:-1], axis) * part[:-1].reshape(shape)
    total: NDArray[np.floating] = sums + after - before
    return total


def _cut_means(weighted: Weighted, rows: Edges, cols: Edges) -> Weighted:
    across = _sloping_sums(weighted, cols, 2).astype(np.float32)
    means: Weighted = (_sloping_sums(across, rows, 1) / np.outer(np.diff(rows), np.diff(cols))).astype(np.float32)
    return means


def _sloping_sums(weighted: Weighted, edges: Edges, axis: int) -> NDArray[np.floating]:
    """Sum like `area_sums`, but with slopes in cut pixels.

    With slope s, the first fraction f of a pixel of value v holds f v - s f (1 - f) / 2.
    """
    cut = np.floor(edges + 1e-9).astype(int)
    part = np.maximum(edges - cut, 0)
    lacking = _slopes(weighted, np.minimum(cut, weighted.shape[axis] - 1), axis) * _along(part * (1 - part) / 2, axis)
    sums: NDArray[np.floating] = area_sums(weighted, edges, axis, np.float64) - np.diff(lacking, axis=axis)
    return sums


def _slopes(weighted: Weighted, at: NDArray[np.int64], axis: int) -> Weighted:
    """Slope of values along one axis at some pixels: the mean of those to the neighbours of equal weight."""
    before, here, after = (weighted.take(at + step, axis, mode="clip") for step in (-1, 0, 1))
    last = weighted.shape[axis] - 1
    is_like_before = (before[-1] == here[-1]) & _along(at > 0, axis)
    is_like_after = (after[-1] == here[-1]) & _along(at < last, axis)
    known = np.maximum(is_like_before.astype(np.float32) + is_like_after, 1)
    slopes: Weighted = ((here - before) * is_like_before + (after - here) * is_like_after) / known
    return slopes


def _along(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Reshape values (n,) to be broadcast along an axis of an array (N, h, w)."""
    return values if axis == 2 else values[:, None]


def _pooled(weighted: Weighted, rows: Edges, cols: Edges) -> Weighted:
    """The means where no pixel is cut, several times as fast."""
    import torch  # only context is averaged like this, for a network
    from torch.nn import functional

    inner = weighted[:, int(rows[0]) : int(rows[-1]), int(cols[0]) : int(cols[-1])]
    sides = int(rows[1] - rows[0]), int(cols[1] - cols[0])
    pooled: Weighted = functional.avg_pool2d(torch.from_numpy(inner)[None], sides)[0].numpy()
    return pooled


def is_even(edges: Edges) -> bool:
    """Whether no border cuts a pixel, and all are equally far apart."""
    first, side = edges[0], round(edges[1] - edges[0])
    return bool(first == int(first) and np.array_equal(edges, np.arange(len(edges)) * side + first))
