"""Labels without what lies near the borders of their classes: there, labels of a coarse resolution are often wrong.

In: open labels. Out: the same, IGNORE along borders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geoseg.data.labels.changed import ChangedLabels
from geoseg.data.labels.opened import Indexes, Labels
from geoseg.geo.georef import PixelGrid, grow
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE


class WithoutBorders(ChangedLabels):
    """Labels without a strip on each side of borders between classes."""

    def __init__(self, labels: Labels, grid: PixelGrid, width_px: int):
        """Leave out strips of a width in pixels, given the grid of the image."""
        super().__init__(labels)
        self._grid, self._width_px = grid, width_px

    def read(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""
        around = grow(window, self._width_px + 1).clip(self._grid.height, self._grid.width)
        labels = self._labels.read(around)
        labels[_depths(labels) < self._width_px] = IGNORE
        found: Indexes = labels[window.shift(-around.row, -around.col).slices].copy()
        return found


def _depths(labels: Indexes) -> NDArray[np.float64]:
    """Distance in pixels of each pixel (h, w) from the nearest that adjoins one of another class; 0 for these."""
    at_border = np.zeros(labels.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & (labels[one] != IGNORE) & (labels[other] != IGNORE)
        at_border[one] |= differ
        at_border[other] |= differ
    if not at_border.any():
        return np.full(labels.shape, np.inf)
    depths: NDArray[np.float64] = distance_transform_edt(~at_border)
    return depths
