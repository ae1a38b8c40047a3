"""The two sides of a split, training and validation: labelled rasters, joined to mosaics where images touch.

In: labelled rasters, and the part of each on a side. Out: mosaics, and the cells that hold their labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.core.wording import number_of, pixels_in_words
from geoseg.data.areas import Area
from geoseg.data.class_statistics import ClassStatistics, join_statistics
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.mosaic import Mosaic, join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.spec import IGNORE
from geoseg.training.windows.random_windows import LabelledCells


@dataclass(frozen=True)
class SplitSide:
    """One side of a split."""

    rasters: tuple[Mosaic, ...]
    """Labelled rasters, joined where images touch."""
    cells: LabelledCells
    """The cells in them that hold labels."""
    images: int
    """Number of images with labels on this side."""
    polygons: int | None = None
    """Number of labelled polygons on this side; None where the split is not by polygons."""

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Labelled pixels per class (K)."""
        counts: NDArray[np.int64] = self.cells.counts.sum(axis=0)
        return counts

    @property
    def pixels(self) -> int:
        """Pixels that count."""
        return int(self.cells.counts.sum())

    @property
    def amount(self) -> str:
        """Its labels in words: polygons, if it was split by them, and pixels."""
        pixels = pixels_in_words(self.pixels)
        return pixels if self.polygons is None else f"{number_of(self.polygons, 'polygon')}, {pixels}"


@dataclass(frozen=True)
class SideParts:
    """The part of each labelled raster on a side."""

    areas: Sequence[tuple[Area, Area]]
    """Of each raster: where labels count, and where they don't, even inside of the former."""
    statistics: Sequence[ClassStatistics]
    """Of each raster: class statistics of the labels that count."""
    hides_closed: bool = False
    """Whether windows show nothing of where labels don't count."""
    polygons: int | None = None
    """Number of labelled polygons; None where the split is not by polygons."""

    @property
    def pixels(self) -> int:
        """Labelled pixels that count."""
        return sum(int(one.counts.sum()) for one in self.statistics)

    def part(self, index: int, raster: LabelledRaster, classes: int = IGNORE) -> PartlyLabelled:
        """The part of a raster, given its index, without labels from the index `classes` on."""
        return PartlyLabelled(raster, *self.areas[index], hides_closed=self.hides_closed, classes=classes)


def join_side(rasters: Sequence[LabelledRaster], parts: SideParts, *, is_scored: bool = False) -> SplitSide:
    """Join the rasters of one side to mosaics where they touch, with cells in the mosaics' pixels.

    On a side that is scored, pixels whose label is a set of classes are not labelled.
    """
    used = [index for index, one in enumerate(parts.statistics) if len(one.cells)]
    classes = parts.statistics[0].counts.shape[1] if is_scored and used else IGNORE
    shown = [parts.part(i, rasters[i], classes) for i in used]
    joined = join_neighbours(shown) if shown else []
    places = np.zeros((len(used), 3), np.int64)  # number of the mosaic, and the corner in it
    for number, (mosaic, members) in enumerate(joined):
        for place, member in zip(mosaic.places, members, strict=True):
            places[member] = number, place.row, place.col
    together = join_statistics(parts.statistics)
    corners = np.repeat(places, [len(parts.statistics[i].cells) for i in used], axis=0)
    cells = LabelledCells(np.insert(together.cells, 0, 0, axis=1) + corners, together.counts, partial=together.partial)
    return SplitSide(tuple(mosaic for mosaic, _ in joined), cells, len(used), parts.polygons)
