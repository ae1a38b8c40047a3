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
from geoseg.training.windows import Cells


@dataclass(frozen=True)
class Side:
    """One side of a split."""

    grounds: tuple[Mosaic, ...]
    """Ground, joined where images touch."""
    cells: Cells
    """Where in it labels stand."""
    images: int
    """Images that contribute."""

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Labelled pixels per class (K)."""
        counts: NDArray[np.int64] = self.cells.counts.sum(axis=0)
        return counts


def make_side(
    grounds: Sequence[LabelledRaster],
    windows: Sequence[tuple[Sequence[Window], Sequence[Window]]],
    counted: Sequence[ClassStatistics],
) -> Side:
    """Join the grounds of one side, and move their cells along."""
    used = [index for index, statistics in enumerate(counted) if len(statistics.cells)]
    parts = [PartlyLabelled(grounds[i], *(Rectangles.of(part) for part in windows[i])) for i in used]
    joined = join_neighbours(parts) if parts else []
    places = np.zeros((len(used), 3), np.int64)  # number of the joined ground, and the corner in it
    for number, (whole, members) in enumerate(joined):
        for place, member in zip(whole.places, members, strict=True):
            places[member] = number, place.row, place.col
    together = join_statistics(counted)
    corners = np.repeat(places, [len(counted[i].cells) for i in used], axis=0)
    cells = Cells(np.insert(together.cells, 0, 0, axis=1) + corners, together.counts)
    return Side(tuple(whole for whole, _ in joined), cells, len(used))
