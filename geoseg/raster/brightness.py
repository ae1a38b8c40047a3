"""How bright a scene is, against the training imagery of a model.

In: mean values of small squares of a scene, and the brightness of the training imagery by its colours. Out: a factor.
Knows neither network nor files.

A dark field and a lit forest may be equally bright, so that brightness alone does not say whether a scene was exposed
as the training imagery was. Their colours differ, and a factor common to all bands leaves colours as they are. So each
square is compared with training imagery of its own colour, and what most squares say counts. On NAIP imagery of Ohio
(0.6 m, red, green, blue; each cluster of tiles against those of the others), as standard deviation of the logarithm and
farthest error:

| estimate | 170 tiles of 154 m | 20 clusters |
|---|---|---|
| 98th percentile over mean + 2 deviations | 0.14, 0.41 | 0.11, 0.26 |
| median value | 0.16, 0.52 | 0.13, 0.28 |
| by colour | 0.05, 0.21 | 0.04, 0.08 |

These figures hold for values x 0.5, 0.7, 1, 1.3 and, but for tiles that are clipped nearly all over, 1.4. Squares of
forest alone, of meadow, of bare land and of water give 1.01, 1.00, 1.01 and 1.03.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.raster.bands.matching import HIGHEST
from geoseg.raster.validity import Mask, Values, spread_windows
from geoseg.spec.brightness import BrightnessSpec

Floats = NDArray[np.float64]

SQUARE_PX = 32
"""Side of a square whose mean counts: the noise of pixels is averaged out, fields and woods are not mixed."""
COLOURS = 16
"""Number of colours; 32 and 64 estimate no better."""
PLACE_SQUARES = 64
"""Squares of a place, of which training imagery has many and a scene is one at least: a tile of 256 px."""
KNOWN_TYPES = "uint8", "uint16"
"""Types of values in which 0 is dark."""
LEAST_CHANGE = 0.12
"""Logarithm of a factor up to which a scene is as bright as the training imagery, however little that varies."""
MOST_CHANGE = math.log(3)
"""Logarithm of a factor beyond which values are in another unit."""
_USUAL = 3.0
"""Standard deviations and usual scatters up to which a scene is like the training imagery."""
_FEWEST_SQUARES, _FEWEST_PLACES = 16, 8
"""Squares of a scene, and places of training imagery, below which nothing is said."""
_LEAST_KNOWN = 0.5
"""Share of a scene's squares whose colours must be known."""
_LOWEST = 3.0
"""Mean value below which rounding decides a colour."""
_CLIPPED = 0.96
"""Mean value, as a share of the highest, above which 8-bit values are clipped."""
_MOST_LEARNT = 50_000
"""Squares from which colours are found, of more evenly chosen ones."""
_LEAST_DEVIATION, _FARTHEST_SHARE, _REACH = 0.05, 0.99, 1.5


class Bands(Protocol):
    """Bands of a raster, read window by window."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: values (C, h, w), and which pixels hold data (h, w)."""
        ...


def sample_squares(bands: Bands) -> Floats:
    """Mean values (N, C) of squares spread over a raster; cheap at any size.

    Raises:
        SceneError: if the file is damaged there.
    """
    found = _squares(bands, 4)
    return found if len(found) >= _FEWEST_SQUARES else _squares(bands, 16)


def learn_brightness(places: Sequence[Floats], dtype: str) -> BrightnessSpec | None:
    """The brightness of training imagery by its colours; None where it says nothing of other imagery.

    That is so of one band, of values of which 0 is not dark, and of few squares or places.

    Args:
        places: mean values (N, C) of the squares of each place.
        dtype: type of the values.
    """
    from scipy.cluster.vq import kmeans2  # only training needs it

    if dtype not in KNOWN_TYPES:
        return None
    usable = [found for place in places if len(found := _usable(place, dtype)) >= _FEWEST_SQUARES]
    if len(usable) < _FEWEST_PLACES or usable[0].shape[1] < 2:
        return None
    together = np.concatenate(usable)
    colours, brightness = _apart(together[:: -(-len(together) // _MOST_LEARNT)])
    centres, nearest = kmeans2(colours, min(COLOURS, len(np.unique(colours, axis=0))), minit="++", seed=0)
    held = [index for index in range(len(centres)) if (nearest == index).sum() >= _FEWEST_PLACES]
    distances = np.sqrt(((colours - centres[nearest]) ** 2).sum(axis=1))
    alike = [brightness[nearest == index] for index in held]
    known = BrightnessSpec(
        colours=tuple(_rounded(centres[index]) for index in held),
        brightness=_rounded([np.median(values) for values in alike]),
        deviation=_rounded([max(_LEAST_DEVIATION, values.std()) for values in alike]),
        reach=_rounded([max(_LEAST_DEVIATION, _REACH * np.quantile(distances, _FARTHEST_SHARE))])[0],
        scatter=1.0,
        variation=1.0,
    )
    found = np.array([estimate for place in usable if (estimate := _estimate(place, known)) is not None])
    if len(found) < _FEWEST_PLACES:
        return None
    variation = float(np.sqrt((found[:, 0] ** 2).mean()))
    (scatter,) = _rounded([max(_LEAST_DEVIATION, np.median(found[:, 1]))])
    return known.model_copy(update={"scatter": scatter, "variation": _rounded([max(1e-3, variation)])[0]})


def unlike_brightness(squares: Floats, known: BrightnessSpec, dtype: str) -> float | None:
    """How many times as bright a scene is as the training imagery; None where it is like it, or cannot be compared.

    It is like it where it differs no more than the places of the training imagery among each other. It cannot be
    compared where few of its colours are known, or its squares disagree on how bright it is.

    Args:
        squares: mean values (N, C) of squares of the scene.
        known: the training imagery.
        dtype: type of the values.
    """
    usable = _usable(squares, dtype)
    found = _estimate(usable, known) if len(usable) >= _FEWEST_SQUARES else None
    if found is None or found[1] > _USUAL * known.scatter:
        return None
    difference = abs(found[0])
    is_like = difference <= max(LEAST_CHANGE, _USUAL * known.variation)
    return None if is_like or difference > MOST_CHANGE else math.exp(found[0])


def rescale_for(brightness: float, dtype: str) -> tuple[float, float]:
    """LOW and HIGH of the --rescale that divides values by a brightness."""
    return 0.0, float(f"{HIGHEST[dtype] * brightness:.4g}")


def _squares(bands: Bands, count: int) -> Floats:
    found = [np.zeros((0, 1))]
    for window in spread_windows(bands.height, bands.width, 2 * SQUARE_PX, count):
        values, valid = bands.read(window)
        for row in range(0, window.height, SQUARE_PX):
            for col in range(0, window.width, SQUARE_PX):
                part = np.s_[row : row + SQUARE_PX, col : col + SQUARE_PX]
                held = values[:, *part][:, valid[part]]
                if 2 * held.shape[1] >= SQUARE_PX**2:
                    found.append(held.mean(axis=1, dtype=np.float64)[None])
    return np.concatenate(found[1:] or found)


def _usable(squares: Floats, dtype: str) -> Floats:
    """The squares (n, C) whose colours are neither rounded nor clipped away."""
    highest = _CLIPPED * HIGHEST[dtype] if dtype == "uint8" else math.inf
    kept: Floats = squares[(squares.min(axis=1) > _LOWEST) & (squares.max(axis=1) < highest)]
    return kept


def _apart(squares: Floats) -> tuple[Floats, Floats]:
    """Colours (N, C) and brightness (N,) of squares."""
    logs = np.log(squares)
    brightness: Floats = logs.mean(axis=1)
    return logs - brightness[:, None], brightness


def _estimate(squares: Floats, known: BrightnessSpec) -> tuple[float, float] | None:
    """Logarithm of how many times as bright a place is, and how much its squares disagree; None if few are known."""
    colours, brightness = _apart(squares)
    distances = ((colours[:, None] - np.array(known.colours)) ** 2).sum(axis=2)
    nearest, is_known = distances.argmin(axis=1), distances.min(axis=1) < known.reach**2
    if is_known.mean() < _LEAST_KNOWN:
        return None
    nearest = nearest[is_known]
    differences = brightness[is_known] - np.array(known.brightness)[nearest]
    weights = np.array(known.deviation)[nearest] ** -2.0
    median = _weighted_median(differences, weights)
    return median, float(np.average(np.abs(differences - median), weights=weights))


def _weighted_median(values: Floats, weights: Floats) -> float:
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][np.searchsorted(shares, 0.5)])


def _rounded(values: Sequence[float] | Floats) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)
