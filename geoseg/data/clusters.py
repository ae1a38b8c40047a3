"""Clusters of images: those that lie near each other, or that a list keeps together.

In: grids of images, and what they share. Out: the number of each image's cluster. Reads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.geo.crs import crs_number
from geoseg.geo.geodesy import pixel_size_m
from geoseg.geo.georef import PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window


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
    Distances are those of bounding boxes, along the axes of the images.

    Args:
        images: the images; those without coordinates have no neighbours.
        gap_m: largest distance of neighbours on the ground, in metres; None counts no image as a neighbour.
    """
    links = [*_sharing(images), *([] if gap_m is None else _near([one.grid for one in images], gap_m))]
    parent = list(range(len(images)))

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    for one, other in links:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    roots = [root(image) for image in range(len(images))]
    return np.unique(np.array(roots, np.int64), return_inverse=True)[1].ravel()


def _sharing(images: Sequence[PlacedImage]) -> Iterator[tuple[int, int]]:
    """Pairs of images that share a key: each with the first that has it."""
    first: dict[Hashable, int] = {}
    for number, image in enumerate(images):
        for key in image.keys:
            yield first.setdefault(key, number), number


def _near(grids: Sequence[PixelGrid], gap_m: float) -> Iterator[tuple[int, int]]:
    """Pairs of images no farther apart than a gap, each in the coordinate system of its first."""
    systems: list[Any] = []
    numbers = [crs_number(grid.crs, systems) if grid.is_georeferenced else -1 for grid in grids]
    for number, crs in enumerate(systems):
        boxes = {
            image: box
            for image, grid in enumerate(grids)
            if grid.is_georeferenced and (box := reproject_box(grid.box(_whole(grid)), grid.crs, crs)) is not None
        }
        own = [image for image in boxes if numbers[image] == number]
        grown = [grids[image].box(grow(_whole(grids[image]), _reach_px(grids[image], gap_m))) for image in own]
        tree = shapely.STRtree(_as_boxes(list(boxes.values())))
        others = list(boxes)
        for one, other in tree.query(_as_boxes(grown), predicate="intersects").T.tolist():
            yield own[one], others[other]


def _whole(grid: PixelGrid) -> Window:
    return Window(0, 0, grid.height, grid.width)


def _reach_px(grid: PixelGrid, gap_m: float) -> int:
    """The gap in pixels of an image, at least one: images that touch are neighbours whatever the rounding."""
    size = pixel_size_m(grid.crs, grid.transform, grid.height, grid.width)
    return 1 if size is None else max(1, math.ceil(gap_m / min(size)))


def _as_boxes(corners: Sequence[tuple[float, float, float, float]]) -> Any:
    return shapely.box(*np.array(corners, np.float64).reshape(-1, 4).T)
