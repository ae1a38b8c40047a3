"""Clusters of images: those that lie near each other, or that a list keeps together.

In: grids of images, and what they share. Out: the number of each image's cluster. Reads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.geo.crs import crs_number
from geoseg.geo.geodesy import GeodeticSystem, geodetic_system, pixel_size_in, x_period
from geoseg.geo.georef import Box, PixelGrid, reproject_box

ROUNDING = 0.01
"""Part of a pixel by which images that touch may lie apart, as their coordinates are rounded."""
MARGIN = 1.1
"""By how much more than the gap neighbours are looked for, as the length of a degree varies within the gap."""


@dataclass(frozen=True)
class PlacedImage:
    """An image, as far as its cluster depends on it."""

    grid: PixelGrid
    """Its grid."""
    keys: tuple[Hashable, ...]
    """What it shares with others of its cluster: its file, the group of a list."""


def number_clusters(images: Sequence[PlacedImage], gap_m: float | None) -> NDArray[np.int64]:
    """The number of the cluster of each image (N,), from 0, in the order of the first image of each.

    Images are in one cluster if they share a key, or lie no farther apart than the gap, or if others link them so.
    Distances are those of bounding boxes, along each axis of the coordinate system of one of them.

    Args:
        images: the images; those without coordinates have no neighbours.
        gap_m: largest distance of neighbours on the ground, in metres; None counts no image as a neighbour.
    """
    parent = list(range(len(images)))

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    def link(one: int, other: int) -> None:
        low, high = sorted((root(one), root(other)))
        parent[high] = low

    for one, other in _sharing(images):
        link(one, other)
    for one, other, are_near in () if gap_m is None else _candidates([one.grid for one in images], gap_m):
        if root(one) != root(other) and are_near():
            link(one, other)
    roots = [root(image) for image in range(len(images))]
    return np.unique(np.array(roots, np.int64), return_inverse=True)[1].ravel()


def _sharing(images: Sequence[PlacedImage]) -> Iterator[tuple[int, int]]:
    """Pairs of images that share a key: each with the first that has it."""
    first: dict[Hashable, int] = {}
    for number, image in enumerate(images):
        for key in image.keys:
            yield first.setdefault(key, number), number


def _candidates(grids: Sequence[PixelGrid], gap_m: float) -> Iterator[tuple[int, int, Callable[[], bool]]]:
    """Pairs of images that may be neighbours, in the coordinate system of the first, and how to find out."""
    systems: list[Any] = []
    numbers = [crs_number(grid.crs, systems) if grid.is_georeferenced else -1 for grid in grids]
    for number, crs in enumerate(systems):
        boxes = {
            image: box
            for image, grid in enumerate(grids)
            if grid.is_georeferenced and (box := reproject_box(grid.bounds, grid.crs, crs, past_180=True)) is not None
        }
        own = [image for image in boxes if numbers[image] == number]
        system = geodetic_system(crs)
        tree, others = shapely.STRtree(_as_boxes(list(boxes.values()))), list(boxes)
        shifted = [(image, shift) for image in own for shift in _turns(grids[image])]
        grown = {image: _grown(grids[image], system, gap_m) for image in own}
        found = tree.query(_as_boxes([grown[image].shift(by) for image, by in shifted]), predicate="intersects")
        for place, at in found.T.tolist():
            image, shift = shifted[place]
            other = boxes[others[at]].shift(-shift)
            yield image, others[at], partial(_are_near, grids[image], system, other, gap_m)


def _turns(grid: PixelGrid) -> tuple[float, ...]:
    """By how much x may differ at one place, in CRS units: longitudes also by a whole turn."""
    period = x_period(grid.crs, grid.bounds)
    return (0.0,) if period is None else (-period, 0.0, period)


def _grown(grid: PixelGrid, system: GeodeticSystem | None, gap_m: float) -> Box:
    """The bounding box of an image, enlarged by at least the gap."""
    left, bottom, right, top = grid.bounds
    slack, step = _rounding(grid), (grid.step, grid.step)
    ends = [size for y in (bottom, (bottom + top) / 2, top) if (size := _size_m(system, (left + right) / 2, y, step))]
    if not ends:
        return Box(left - slack, bottom - slack, right + slack, top + slack)
    x, y = (MARGIN * gap_m * grid.step / min(sizes) + slack for sizes in zip(*ends, strict=True))
    return Box(left - x, bottom - y, right + x, top + y)


def _are_near(grid: PixelGrid, system: GeodeticSystem | None, other: Box, gap_m: float) -> bool:
    """Whether the bounding box of an image is no farther from another box than a gap along either axis."""
    own = grid.bounds
    west, east = max(own.left, other.left), min(own.right, other.right)
    south, north = max(own.bottom, other.bottom), min(own.top, other.top)
    apart = max(west - east, 0.0), max(south - north, 0.0)
    if max(apart) <= _rounding(grid):
        return True
    sides = apart[0] or grid.step, apart[1] or grid.step
    sizes = [size for y in (south, north) if (size := _size_m(system, (west + east) / 2, y, sides))]
    return any(
        all(
            length <= _rounding(grid) or size_m <= gap_m * (1 + 1e-9)
            for length, size_m in zip(apart, size, strict=True)
        )
        for size in sizes
    )


def _rounding(grid: PixelGrid) -> float:
    """By how much images that touch may lie apart, in CRS units."""
    t = grid.transform
    return ROUNDING * min(grid.step, math.hypot(t.b, t.e))


def _size_m(
    system: GeodeticSystem | None, x: float, y: float, sides: tuple[float, float]
) -> tuple[float, float] | None:
    """Length on the ground, in metres, of two lines through a place along x and y, given in CRS units."""
    width, height = sides
    place = Affine(width, 0, x - width / 2, 0, -height, y + height / 2)
    return None if system is None else pixel_size_in(system, place, 1, 1)


def _as_boxes(corners: Sequence[Box]) -> Any:
    return shapely.box(*np.array(corners, np.float64).reshape(-1, 4).T)
