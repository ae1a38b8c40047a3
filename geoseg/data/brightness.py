"""How bright labelled imagery is, by its colours. In: class statistics. Out: a BrightnessSpec."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg.data.class_statistics import CELL_PX, ClassStatistics
from geoseg.raster.brightness import PLACE_SQUARES, SQUARE_PX, Floats, learn_brightness
from geoseg.spec.brightness import BrightnessSpec


def brightness_of(counted: Sequence[ClassStatistics], dtype: str) -> BrightnessSpec | None:
    """The brightness of the labelled imagery of several rasters; None where it says nothing of other imagery.

    Args:
        counted: class statistics of each raster.
        dtype: type of its values.
    """
    return learn_brightness([place for statistics in counted for place in _places(statistics)], dtype)


def _places(statistics: ClassStatistics) -> list[Floats]:
    """Mean values (N, C) of the cells of each place that are labelled for the most part."""
    pixels = statistics.counts.sum(axis=1)
    full = 2 * pixels >= CELL_PX**2
    if not full.any():
        return []
    means = statistics.sums[full] / pixels[full, None]
    places = statistics.cells[full] // round(SQUARE_PX * PLACE_SQUARES**0.5)
    _, numbers = np.unique(places, axis=0, return_inverse=True)
    order = np.argsort(numbers.ravel(), kind="stable")
    return np.split(means[order], np.flatnonzero(np.diff(numbers.ravel()[order])) + 1)
