"""Kernels and messages of mean field inference, in loops that are compiled. Pure functions on arrays.

Pairs of pixels are stored by row, offset and column of their first pixel. All inner loops run along columns, whose
values lie side by side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def fill_distances(
    image: NDArray[np.float32],
    first: int,
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    pairs: NDArray[np.float32],
) -> None:
    """Subtract from zeros (n, N, w) the squared distances of the values of pairs, from row `first` of an image on."""
    bands, height, width = image.shape
    for row in range(first, min(first + pairs.shape[0], height)):
        for i in range(len(down)):
            other = row + down[i]
            if other >= height:
                continue
            left, stop = max(0, -right[i]), width - max(0, right[i])
            distances = pairs[row - first, i, left:stop]
            for band in range(bands):
                own = image[band, row, left:stop]
                theirs = image[band, other, left + right[i] : stop + right[i]]
                for col in range(stop - left):
                    difference = own[col] - theirs[col]
                    distances[col] -= difference * difference


@compiled
def add_kernels(pairs: NDArray[np.float32], appearance: NDArray[np.float32], smoothness: NDArray[np.float32]) -> None:
    """Replace likenesses of pairs (n, N, w), 0 to 1, by weights: of the appearance as far as they are alike, and of the
    smoothness."""
    rows, offsets, width = pairs.shape
    for row in range(rows):
        for i in range(offsets):
            weights, alike, any_pair = pairs[row, i, :], appearance[i], smoothness[i]
            for col in range(width):
                weights[col] = weights[col] * alike + any_pair


@compiled
def sum_messages(
    pairs: NDArray[np.float32],
    down: NDArray[np.int64],
    right: NDArray[np.int64],
    sent: NDArray[np.float32],
    margin: int,
    messages: NDArray[np.float32],
) -> None:
    """Sum what pixels (K, h, w) send to each pixel with a margin of at least the window's radius around it."""
    classes, height, width = sent.shape
    stop = width - margin
    for row in range(margin, height - margin):
        messages[:, row, margin:stop] = 0
        for i in range(len(down)):
            dy, dx = down[i], right[i]
            after, before = pairs[row, i, margin:stop], pairs[row - dy, i, margin - dx : stop - dx]
            for k in range(classes):
                total = messages[k, row, margin:stop]
                ahead, behind = sent[k, row + dy, margin + dx : stop + dx], sent[k, row - dy, margin - dx : stop - dx]
                for col in range(stop - margin):
                    total[col] += after[col] * ahead[col] + before[col] * behind[col]
