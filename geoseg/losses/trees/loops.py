"""Minimum spanning trees of grids of pixels, and sums along their paths, in loops that are compiled.

Pure functions on arrays of one image. Pixels are numbered row by row. Edges join neighbours in a row or a column: first
those within rows, row by row, numbered by their left pixel; then those within columns, numbered by their upper pixel.
Nodes are the pixels of a tree in the order of a breadth-first search from its root, the first pixel; their parents come
before them. Arrays with n - 1 entries leave out the root.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def grow_tree(
    width: int,
    by_weight: NDArray[np.int64],
    nodes: NDArray[np.int64],
    parents: NDArray[np.int64],
    edges: NDArray[np.int64],
) -> None:
    """Find the minimum spanning tree of a grid by Kruskal's algorithm, and order its nodes from its root.

    Args:
        width: of the grid, in pixels.
        by_weight: numbers of all edges, the lightest first.
        nodes: filled with the pixel of each node (n).
        parents: filled with the place in `nodes` of each node's parent (n - 1).
        edges: filled with the number of the edge from each node to its parent (n - 1).
    """
    pixels = len(nodes)
    within_rows = pixels // width * (width - 1)
    sets = np.arange(pixels)
    right, below = np.full(pixels, -1), np.full(pixels, -1)
    for edge in by_weight:
        if edge < within_rows:
            first = edge // (width - 1) * width + edge % (width - 1)
            second = first + 1
        else:
            first = edge - within_rows
            second = first + width
        one, other = first, second
        while sets[one] != one:
            sets[one] = sets[sets[one]]
            one = sets[one]
        while sets[other] != other:
            sets[other] = sets[sets[other]]
            other = sets[other]
        if one != other:
            sets[max(one, other)] = min(one, other)
            if edge < within_rows:
                right[first] = edge
            else:
                below[first] = edge
    nodes[0], found = 0, 1
    for place in range(pixels):
        pixel = nodes[place]
        reached_by = edges[place - 1] if place else -1
        for side in range(4):
            step = (1, -1, width, -width)[side]
            first = min(pixel, pixel + step)
            if first < 0 or max(pixel, pixel + step) >= pixels:
                continue
            edge = right[first] if side < 2 else below[first]
            if edge >= 0 and edge != reached_by:
                nodes[found], parents[found - 1], edges[found - 1] = pixel + step, place, edge
                found += 1


@compiled
def sum_along_paths(
    values: NDArray[np.float64],
    affinities: NDArray[np.float64],
    parents: NDArray[np.int64],
    up: NDArray[np.float64],
    down: NDArray[np.float64],
) -> None:
    """Sum the values (n, C) of all nodes, each weighted by the product of the affinities on its path to the node.

    Args:
        values: of each node.
        affinities: of each node and its parent (n - 1).
        parents: place of each node's parent (n - 1).
        up: filled with the sums over each node and its descendants alone (n, C).
        down: filled with the sums over all nodes (n, C).
    """
    count, channels = values.shape
    up[:] = values
    for node in range(count - 1, 0, -1):
        affinity, parent = affinities[node - 1], parents[node - 1]
        for channel in range(channels):
            up[parent, channel] += affinity * up[node, channel]
    down[0] = up[0]
    for node in range(1, count):
        affinity, parent = affinities[node - 1], parents[node - 1]
        own = 1 - affinity * affinity
        for channel in range(channels):
            down[node, channel] = own * up[node, channel] + affinity * down[parent, channel]


@compiled
def fill_slopes(
    affinities: NDArray[np.float64],
    parents: NDArray[np.int64],
    up: NDArray[np.float64],
    down: NDArray[np.float64],
    gradients_up: NDArray[np.float64],
    gradients_down: NDArray[np.float64],
    slopes: NDArray[np.float64],
) -> None:
    """Fill in the gradients of the affinities (n - 1).

    An affinity is on the paths between the descendants of its node and all other nodes.

    Args:
        affinities: of each node and its parent (n - 1).
        parents: place of each node's parent (n - 1).
        up: of the values (n, C), see `sum_along_paths`.
        down: likewise.
        gradients_up: the same of the gradients of the sums over all nodes.
        gradients_down: likewise.
        slopes: the result.
    """
    for edge in range(len(affinities)):
        node, parent, affinity = edge + 1, parents[edge], affinities[edge]
        slope = 0.0
        for channel in range(up.shape[1]):
            inside, gradients_inside = up[node, channel], gradients_up[node, channel]
            slope += gradients_inside * (down[parent, channel] - affinity * inside)
            slope += inside * (gradients_down[parent, channel] - affinity * gradients_inside)
        slopes[edge] = slope
