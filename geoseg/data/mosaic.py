"""Mosaics of adjacent labelled rasters.

In: labelled rasters. Out: mosaics of those that touch and have coinciding pixels, read window by window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values
from geoseg.spec import IGNORE


class Mosaic:
    """Labelled rasters with coinciding pixels, read as one; there is no data in the gaps between them."""

    def __init__(self, rasters: Sequence[LabelledRaster]):
        offsets = [(0, 0), *(rasters[0].grid.nearest_offset(raster.grid) for raster in rasters[1:])]
        top, left = min(row for row, _ in offsets), min(column for _, column in offsets)
        self.places = [
            Window(row - top, column - left, raster.height, raster.width)
            for (row, column), raster in zip(offsets, rasters, strict=True)
        ]
        self.rasters = tuple(rasters)
        self.height = max(place.row + place.height for place in self.places)
        self.width = max(place.col + place.width for place in self.places)
        self.grid = rasters[0].grid.part(Window(top, left, self.height, self.width))
        self.name = rasters[0].name if len(rasters) == 1 else f"{rasters[0].name} and {len(rasters) - 1} neighbours"
        corners = [(place.row, place.col, place.row + place.height, place.col + place.width) for place in self.places]
        self._bounds = np.array(corners)

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: band values (C, h, w), 0 in gaps, and which pixels hold data (h, w)."""
        parts = [(at, *raster.read(inner)) for at, raster, inner in self._parts(window)]
        bands = parts[0][1].shape[0] if parts else self.rasters[0].read(Window(0, 0, 1, 1))[0].shape[0]
        dtype = np.result_type(*(image.dtype for _, image, _ in parts)) if parts else np.dtype(np.float32)
        values = np.zeros((bands, window.height, window.width), dtype)
        valid = np.zeros((window.height, window.width), bool)
        for at, image, held in parts:
            np.copyto(values[:, *at.slices], image, where=held)
            valid[at.slices] |= held
        return values, valid

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window; IGNORE in gaps."""
        labels = np.full((window.height, window.width), IGNORE, np.uint8)
        for at, raster, inner in self._parts(window):
            found = raster.read_labels(inner)
            np.copyto(labels[at.slices], found, where=found != IGNORE)
        return labels

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data and are on its side of a split in one of the rasters."""
        own = np.zeros((window.height, window.width), bool)
        for at, raster, inner in self._parts(window):
            own[at.slices] |= raster.own(inner)
        return own

    def open_part(self) -> Mosaic:
        """The mosaic of the rasters' open parts, without data of other sides of the split."""
        return Mosaic([raster.open_part() for raster in self.rasters])

    def window_name(self, window: Window) -> str:
        """Name of a window for people: the raster at its centre, and the window's row and column there."""
        member = self.member_at(window.row + window.height // 2, window.col + window.width // 2)
        if member is None:
            return f"{self.name}, row {window.row}, column {window.col}"
        corner = self.places[member]
        row, col = max(0, window.row - corner.row), max(0, window.col - corner.col)
        return f"{self.rasters[member].name}, row {row}, column {col}"

    def name_at(self, row: int, col: int) -> str:
        """Name of the raster that holds a pixel; the name of the mosaic in a gap."""
        member = self.member_at(row, col)
        return self.name if member is None else self.rasters[member].name

    def name_of_most(self, window: Window, mask: Mask) -> str:
        """Name of the raster that holds most pixels of a mask (h, w) over a window; of several equal ones the first."""
        pixels = [
            int(mask[place.shift(-window.row, -window.col).clip(window.height, window.width).slices].sum())
            for place in self.places
        ]
        return self.rasters[int(np.argmax(pixels))].name

    def member_at(self, row: int, col: int) -> int | None:
        """Index of the raster that holds a pixel; None in a gap."""
        here = (self._bounds[:, :2] <= (row, col)).all(axis=1) & ((row, col) < self._bounds[:, 2:]).all(axis=1)
        return int(np.argmax(here)) if here.any() else None

    def _parts(self, window: Window) -> list[tuple[Window, LabelledRaster, Window]]:
        """The rasters that a window meets: the part of the window that each covers, the raster, and its own part."""
        first, last = (window.row, window.col), (window.row + window.height, window.col + window.width)
        near = np.flatnonzero(((self._bounds[:, :2] < last) & (self._bounds[:, 2:] > first)).all(axis=1))
        found = []
        for index in near:
            place, raster = self.places[index], self.rasters[index]
            inner = window.shift(-place.row, -place.col).clip(raster.height, raster.width)
            found.append((inner.shift(place.row - window.row, place.col - window.col), raster, inner))
        return found


def join_neighbours(rasters: Sequence[LabelledRaster]) -> list[tuple[Mosaic, list[int]]]:
    """Join rasters that touch and have coinciding pixels: each mosaic with the indexes of its rasters.

    A raster without georeferencing is a mosaic of its own.
    """
    groups: dict[int, list[int]] = {}
    for index, root in enumerate(_roots(rasters)):
        groups.setdefault(root, []).append(index)
    return [(Mosaic([rasters[i] for i in group]), group) for group in groups.values()]


def _roots(rasters: Sequence[LabelledRaster]) -> list[int]:
    """For each raster the lowest index among those connected to it."""
    roots = list(range(len(rasters)))

    def root(index: int) -> int:
        while roots[index] != index:
            roots[index] = roots[roots[index]]
            index = roots[index]
        return index

    for one, other in _near_pairs(rasters):
        if rasters[one].grid.offset_of(rasters[other].grid) is not None:
            first, last = sorted((root(one), root(other)))
            roots[last] = first
    return [root(index) for index in range(len(rasters))]


def _near_pairs(rasters: Sequence[LabelledRaster]) -> NDArray[np.intp]:
    """Pairs (N, 2) of georeferenced rasters whose boxes touch to a hundredth of a pixel, whatever their CRS."""
    placed = np.array([i for i, raster in enumerate(rasters) if raster.grid.is_georeferenced], np.intp)
    if not len(placed):
        return np.zeros((0, 2), np.intp)
    grids = [rasters[i].grid for i in placed]
    shapes = shapely.box(*np.array([grid.box(Window(0, 0, grid.height, grid.width)) for grid in grids]).T)
    reach = shapely.buffer(shapes, [0.01 * grid.step for grid in grids], join_style="mitre")
    pairs = shapely.STRtree(shapes).query(reach, predicate="intersects")
    near: NDArray[np.intp] = placed[pairs[:, pairs[0] < pairs[1]].T]
    return near
