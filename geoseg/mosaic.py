"""Labelled ground in memory, joined where tiles touch, so that training windows can cross their borders.

In: tiles with their grids. Out: fewer, larger pieces of ground. Knows no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from geoseg.labels import PixelGrid
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class Ground:
    """Labelled ground in memory: a tile, or several that touch."""

    image: NDArray[Any]
    """Band values (C, H, W)."""
    labels: NDArray[np.uint8]
    """Class indexes (H, W); IGNORE where nothing is labelled or the image has no data."""
    grid: PixelGrid
    """Where it lies."""
    nodata: float | None = None
    """Band value of pixels without data, besides NaN."""


def valid_pixels(image: NDArray[Any], nodata: float | None) -> NDArray[np.bool_]:
    """Pixels (H, W) that hold data in every band of an image (C, H, W)."""
    valid = np.isfinite(image).all(axis=0)
    if nodata is not None:
        valid &= (image != nodata).all(axis=0)
    return np.asarray(valid, dtype=np.bool_)


def fill_empty(ground: Ground, fill: Sequence[float]) -> Ground:
    """Give pixels without data the values `fill` per band, as they have when the model predicts."""
    values = np.reshape(fill, (-1, 1, 1)).astype(ground.image.dtype)
    image = np.where(valid_pixels(ground.image, ground.nodata), ground.image, values)
    return replace(ground, image=image, nodata=None)


def join_neighbours(grounds: Sequence[Ground], fill: Sequence[float]) -> list[Ground]:
    """Join tiles that touch on one pixel grid; gaps between them get `fill` per band and IGNORE.

    Tiles without a CRS are left alone: nothing says where they lie.
    """
    return [_join(group, fill) if len(group) > 1 else group[0] for group in _touching(grounds)]


def _touching(grounds: Sequence[Ground]) -> list[list[Ground]]:
    groups: list[list[Ground]] = []
    for ground in grounds:
        near = [group for group in groups if any(_touch(ground.grid, other.grid) for other in group)]
        groups = [group for group in groups if not any(group is other for other in near)]
        groups.append([ground, *(member for group in near for member in group)])
    return groups


def _touch(one: PixelGrid, other: PixelGrid) -> bool:
    offset = _offset(one, other)
    if offset is None:
        return False
    row, column = offset
    return -other.height <= row <= one.height and -other.width <= column <= one.width


def _offset(one: PixelGrid, other: PixelGrid) -> tuple[int, int] | None:
    """Row and column of the other's corner in one's pixels; None if they share no grid."""
    a, b = one.transform, other.transform
    same_step = max(abs(a.a - b.a), abs(a.e - b.e)) < 1e-6 * one.step and a.b == b.b == a.d == b.d == 0
    if one.crs is None or one.crs != other.crs or not same_step:
        return None
    row, column = (b.f - a.f) / a.e, (b.c - a.c) / a.a
    if max(abs(row - round(row)), abs(column - round(column))) > 0.01:
        return None
    return round(row), round(column)


def _join(group: Sequence[Ground], fill: Sequence[float]) -> Ground:
    offsets = [_offset(group[0].grid, ground.grid) or (0, 0) for ground in group]
    top, left = min(row for row, _ in offsets), min(column for _, column in offsets)
    places = [(row - top, column - left) for row, column in offsets]
    height = max(row + ground.grid.height for (row, _), ground in zip(places, group, strict=True))
    width = max(column + ground.grid.width for (_, column), ground in zip(places, group, strict=True))
    image = np.empty((len(fill), height, width), group[0].image.dtype)
    image[:] = np.reshape(np.round(fill), (-1, 1, 1))
    labels = np.full((height, width), IGNORE, np.uint8)
    for (row, column), ground in zip(places, group, strict=True):
        inside = np.s_[row : row + ground.grid.height, column : column + ground.grid.width]
        image[(slice(None), *inside)], labels[inside] = ground.image, ground.labels
    return Ground(image, labels, _moved(group[0].grid, left, top, width, height))


def _moved(grid: PixelGrid, column: int, row: int, width: int, height: int) -> PixelGrid:
    """A grid of another size whose corner lies at a pixel of this one."""
    t, (x, y) = grid.transform, grid.xy(column, row)
    return PixelGrid(height, width, Affine(t.a, t.b, x, t.d, t.e, y), grid.crs)
