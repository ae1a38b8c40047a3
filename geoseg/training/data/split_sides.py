"""The two sides of a split: rasters to learn from, and rasters to score on, each joined where images touch.

In: labelled rasters, and what of each belongs to a side. Out: mosaics, and the cells in which their labels stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.data.class_statistics import ClassStatistics, join_statistics
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.mosaic import Mosaic, join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled, Rectangles
from geoseg.geo.grid import Window
from geoseg.training.windows.random_windows import LabelledCells


@dataclass(frozen=True)
class SplitSide:
    """One side of a split."""

    rasters: tuple[Mosaic, ...]
    """Labelled rasters, joined where images touch."""
    cells: LabelledCells
    """Where in them labels stand."""
    images: int
    """Images that contribute."""

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Labelled pixels per class (K)."""
        counts: NDArray[np.int64] = self.cells.counts.sum(axis=0)
        return counts


@dataclass(frozen=True)
class SideParts:
    """What of each labelled raster is on a side."""

    windows: Sequence[tuple[Sequence[Window], Sequence[Window]]]
    """Of each raster: windows whose labels are shown, and windows whose labels are not, even inside of these."""
    statistics: Sequence[ClassStatistics]
    """Of each raster: what its shown labels consist of."""


def join_side(rasters: Sequence[LabelledRaster], parts: SideParts) -> SplitSide:
    """Join the rasters of one side where they touch, and move their cells along."""
    used = [index for index, one in enumerate(parts.statistics) if len(one.cells)]
    shown = [PartlyLabelled(rasters[i], *(Rectangles.of(some) for some in parts.windows[i])) for i in used]
    joined = join_neighbours(shown) if shown else []
    places = np.zeros((len(used), 3), np.int64)  # number of the mosaic, and the corner in it
    for number, (mosaic, members) in enumerate(joined):
        for place, member in zip(mosaic.places, members, strict=True):
            places[member] = number, place.row, place.col
    together = join_statistics(parts.statistics)
    corners = np.repeat(places, [len(parts.statistics[i].cells) for i in used], axis=0)
    cells = LabelledCells(np.insert(together.cells, 0, 0, axis=1) + corners, together.counts)
    return SplitSide(tuple(mosaic for mosaic, _ in joined), cells, len(used))
