"""Split of labelled polygons: each goes to one side as a whole, in all images that show it.

In: labelled rasters, and the polygons of their labels. Out: areas of each raster. What is validated is closed with a
guard band, also where another image or another label file shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.core.errors import LabelError
from geoseg.data.areas import Area, PolygonArea
from geoseg.data.class_statistics import read_windows
from geoseg.data.draws import TEST, TRAIN, VAL, draw_sides
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels.features import Features
from geoseg.data.labels.placed_polygons import shapes_on
from geoseg.geo.antimeridian import Shapes
from geoseg.geo.crs import crs_number
from geoseg.geo.georef import PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window
from geoseg.spec import SplitSpec


@dataclass(frozen=True)
class CountedFeatures:
    """All features of the rasters of a run, each once, with its labelled pixels."""

    keys: NDArray[np.str_]
    """Keys (N,), sorted."""
    counts: NDArray[np.int64]
    """Labelled pixels per class (N, K), over all rasters that show a feature."""


@dataclass(frozen=True)
class PolygonSides:
    """The areas of one raster."""

    train: Area
    """Training polygons."""
    val: Area
    """Validation polygons."""
    test: Area
    """Test polygons."""
    closed: Area
    """Validation and test polygons with their guard band, also those of other images: nothing is learnt there."""
    tested: Area
    """Test polygons, also those of other images: nothing is validated there."""


@dataclass(frozen=True)
class PolygonCounts:
    """Number of polygons with labels."""

    train: int
    """For training."""
    val: int
    """For validation."""
    test: int
    """For the test."""
    unseen: int
    """Those of which no image shows a pixel with data."""


def count_features(rasters: Sequence[LabelledRaster], features: Sequence[Features], classes: int) -> CountedFeatures:
    """Count the labelled pixels with data of each feature, in one pass over the rasters."""
    keys = np.unique(np.concatenate([one.keys for one in features]))
    counts = np.zeros((len(keys), classes), np.int64)
    for raster, one in zip(rasters, features, strict=True):
        numbers, tree = np.searchsorted(keys, one.keys), shapely.STRtree(one.shapes)
        for window in read_windows(raster.height, raster.width):
            near = np.sort(tree.query(shapely.box(*raster.grid.box(window))))
            if len(near):
                _count_window(raster, window, list(zip(one.shapes[near], numbers[near].tolist(), strict=True)), counts)
    return CountedFeatures(keys, counts)


def _count_window(
    raster: LabelledRaster, window: Window, numbered: Sequence[tuple[Any, int]], counts: NDArray[np.int64]
) -> None:
    """Add the pixels of the features in a window to their counts (N, K), given their shapes and numbers."""
    burnt = np.full((window.height, window.width), -1, np.int32)
    rasterize(numbered, out=burnt, transform=raster.grid.part(window).transform)
    labels, (_, valid) = raster.read_labels(window), raster.read(window)
    known = (burnt >= 0) & (labels < counts.shape[1]) & valid  # sets of classes are no class of a feature
    np.add.at(counts, (burnt[known], labels[known]), 1)


def split_polygons(
    grids: Sequence[PixelGrid], features: Sequence[Features], counted: CountedFeatures, spec: SplitSpec, guard_px: int
) -> tuple[list[PolygonSides], PolygonCounts]:
    """Split the features, each class by itself.

    Args:
        grids: of the rasters.
        features: of each raster.
        counted: all of them.
        spec: shares of the sides, or folds; seed.
        guard_px: width of the guard band, in pixels of the training image.

    Returns:
        Areas of each raster, and the number of polygons with labels on each side.

    Raises:
        LabelError: if there are not two polygons.
    """
    shown = counted.counts.any(axis=1)
    if shown.sum() < 2:
        raise LabelError(
            f"{int(shown.sum())} of the polygons has labels on the images, which cannot be split: label more, or train "
            "on all of them (data.split.by: none)"
        )
    sides = np.zeros(len(counted.keys), np.int64)
    sides[shown] = draw_sides(counted.counts[shown], spec, is_stratified=True)
    sides_of = [sides[np.searchsorted(counted.keys, one.keys)] for one in features]

    def of(*wanted: int) -> list[Shapes]:
        """The polygons of each raster on some sides."""
        return [one.shapes[np.isin(its, wanted)] for one, its in zip(features, sides_of, strict=True)]

    scored, tested = (_FromImages.of(grids, shapes) for shapes in (of(VAL, TEST), of(TEST)))
    train, val, test = of(TRAIN), of(VAL), of(TEST)
    found = [
        PolygonSides(
            train=PolygonArea(train[index], grid.transform),
            val=PolygonArea(val[index], grid.transform),
            test=PolygonArea(test[index], grid.transform),
            closed=PolygonArea.around(scored.near(grid, guard_px), grid, guard_px),
            tested=PolygonArea.around(tested.near(grid, 0), grid, 0),
        )
        for index, grid in enumerate(grids)
    ]
    numbers = {side: int((shown & (sides == side)).sum()) for side in (TRAIN, VAL, TEST)}
    return found, PolygonCounts(numbers[TRAIN], numbers[VAL], numbers[TEST], int((~shown).sum()))


@dataclass(frozen=True)
class _FromImages:
    """Polygons of all rasters on some sides, by coordinate system."""

    systems: list[Any]
    """The coordinate systems."""
    trees: list[shapely.STRtree]
    """The polygons in each."""

    @classmethod
    def of(cls, grids: Sequence[PixelGrid], shapes: Sequence[Shapes]) -> _FromImages:
        systems: list[Any] = []
        numbers = [crs_number(grid.crs, systems) for grid in grids]
        pairs = list(zip(shapes, numbers, strict=True))
        parts = [[some for some, own in pairs if own == number] for number in range(len(systems))]
        return cls(systems, [shapely.STRtree(np.concatenate(some)) for some in parts])

    def near(self, grid: PixelGrid, reach_px: int) -> Shapes:
        """The polygons within some pixels of a raster (N,), in its coordinate system."""
        around = grid.box(grow(Window(0, 0, grid.height, grid.width), reach_px + 1))
        found = []
        for crs, tree in zip(self.systems, self.trees, strict=True):
            box = reproject_box(around, grid.crs, crs, past_180=True)
            if box is not None:
                shapes = tree.geometries[np.sort(tree.query(shapely.box(*box)))]
                found.append(shapes_on(shapes, crs, grid))
        return np.concatenate([np.zeros(0, object), *found])
