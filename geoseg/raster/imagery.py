"""How unlike crops of a scene are to those of the training imagery of a model.

In: vectors of numbers, one for each crop. Out: their spread, and distances from it. Knows neither network nor files.

The distance is that of Mahalanobis, divided by the root of the number of dimensions: about 1 for a usual crop (Lee et
al. 2018 judge a network's features by it). Correlations are shrunk by as much as the number of crops calls for (Ledoit
and Wolf 2004). Whether a distance is large is measured, too: each place of the training imagery is left out once, and
the distances of its crops from the spread of all others say what other imagery of that region is like.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.curves import SMALL, Floats
from geoseg.raster.distributions import Distribution
from geoseg.raster.validity import Mask, Values
from geoseg.spec.imagery import SpreadSpec

CROP_PX = 256
"""Side of a crop: large enough to hold fields and houses, small enough that a tile of training data is one."""
PARTS = 100
"""Parts of the pixels of a band, each with a value."""
FEWEST_CROPS = 8
"""Crops below which they have no spread."""
_USUAL = 0.99
"""Share of the crops of left out places that are within reach."""
_LEAST_DEVIATION = 1e-6
"""Deviation of a number, as a share of its mean, up to which it does not vary, as a channel that is off."""
_NOT_COUNTED = 1e12
"""Deviation that a number is given where it does not vary, so that it counts for nothing."""


def describe_bands(image: Values, valid: Mask) -> Floats:
    """Mean and standard deviation of each band of a crop (C, h, w), over pixels with data (h, w): an array (2C,)."""
    found = [_moments(*_counted(band[valid])) for band in image]
    return np.array([mean for mean, _ in found] + [deviation for _, deviation in found])


def _counted(values: Values) -> tuple[Floats, Floats | None]:
    """Values as float64 and how often each occurs, None for once each; bytes are counted first, which is faster."""
    if values.dtype != np.uint8:
        return values.astype(np.float64), None
    return np.arange(256.0), np.bincount(values, minlength=256).astype(np.float64)


def _moments(values: Floats, counts: Floats | None) -> tuple[float, float]:
    """Mean and standard deviation of values that occur so often each."""
    if not (len(values) if counts is None else counts.any()):
        return np.nan, np.nan
    mean = np.average(values, weights=counts)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=counts)))


def learn_spread(vectors: Floats, places: NDArray[np.int64]) -> SpreadSpec | None:
    """The spread of crops; None of fewer than `FEWEST_CROPS`.

    Args:
        vectors: the numbers of each crop (N, D).
        places: number of the place of each crop (N,); of one place alone, each crop is a place.
    """
    if len(vectors) < FEWEST_CROPS or not np.isfinite(vectors).all():
        return None
    if len(np.unique(places)) < 2:
        places = np.arange(len(vectors))
    left_out = [
        _distances(vectors[places == place], *_fit(vectors[places != place]))
        for place in np.unique(places)
        if (places != place).sum() >= FEWEST_CROPS // 2
    ]
    if not left_out:
        return None
    mean, deviation, precision = _fit(vectors)
    return SpreadSpec(
        mean=_rounded(mean),
        deviation=_rounded(deviation),
        precision=_rounded(precision[np.tril_indices(len(mean))], 6),
        reach=_rounded([_reach(np.concatenate(left_out))])[0],
        crops=len(vectors),
    )


def distances(vectors: Floats, spread: SpreadSpec) -> Floats:
    """Distance of each crop (N,) from a spread, given their numbers (N, D)."""
    count = len(spread.mean)
    lower = np.zeros((count, count))
    lower[np.tril_indices(count)] = spread.precision
    precision = lower + np.tril(lower, -1).T
    return _distances(vectors, np.array(spread.mean), np.array(spread.deviation), precision)


def _distances(vectors: Floats, mean: Floats, deviation: Floats, precision: Floats) -> Floats:
    scaled = (vectors - mean) / deviation
    squares = np.einsum("nc,cd,nd->n", scaled, precision, scaled) / len(mean)
    found: Floats = np.sqrt(np.maximum(squares, 0))
    return found


def _fit(vectors: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean, deviation and inverse of the shrunk correlation matrix of vectors (N, D)."""
    mean: Floats = vectors.mean(axis=0, dtype=np.float64)
    varies = vectors.std(axis=0) > _LEAST_DEVIATION * np.abs(mean)
    deviation: Floats = np.where(varies, vectors.std(axis=0), _NOT_COUNTED)
    scaled = (vectors - mean) / deviation
    precision: Floats = np.linalg.inv(_shrunk(scaled)).astype(np.float64)
    return mean, deviation, precision


def _shrunk(scaled: Floats) -> Floats:
    """Covariance of centred vectors (N, D), shrunk towards a multiple of the identity (Ledoit and Wolf 2004)."""
    count, size = scaled.shape
    sample = scaled.T @ scaled / count
    level = np.trace(sample) / size
    target = level * np.eye(size)
    apart = ((sample - target) ** 2).sum()
    if not apart or not level:
        return np.eye(size)
    error = (((scaled**2).sum(axis=1) ** 2).sum() - count * (sample**2).sum()) / count**2
    share = min(1.0, error / apart)
    shrunk: Floats = share * target + (1 - share) * sample + _LEAST_DEVIATION * np.eye(size)
    return shrunk


def _reach(found: Floats) -> float:
    """The distance within which all but 1 of 100 further crops are: as observed or, of few, as logarithms spread."""
    from scipy.stats import t  # only training needs it

    logs = np.log(np.maximum(found, 1e-6))
    wide = t.ppf(_USUAL, len(logs) - 1) * logs.std(ddof=1) * np.sqrt(1 + 1 / len(logs))
    return float(max(np.quantile(found, _USUAL), np.exp(logs.mean() + wide)))


def _rounded(values: Iterable[float] | Floats, digits: int = 4) -> tuple[float, ...]:
    return tuple(float(f"{value:.{digits}g}") for value in values)


# -------------------------------------------------------------------------------------------------------------- values


def values_of(distribution: Distribution) -> tuple[float, ...]:
    """The values of a band (`PARTS`,), ascending: the mean of each of equally many parts of its pixels."""
    ends = np.linspace(0, distribution.counts.sum(), PARTS + 1)
    counts = np.concatenate([[0], np.cumsum(distribution.counts)])
    sums = np.concatenate([[0], np.cumsum(distribution.counts * distribution.values)])
    means = np.diff(np.interp(ends, counts, sums)) / np.diff(ends)
    return tuple(np.maximum.accumulate(_rounded(means, 5)).tolist())


def distribution_of(values: Iterable[float], dtype: str) -> Distribution:
    """The distribution with some values, each equally often, of a type."""
    found = np.array([*values], np.float64)
    limits = (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype in SMALL else (-np.inf, np.inf)
    return Distribution(found, np.ones(len(found)), limits)


def rank_counts(image: Values, valid: Mask, values: tuple[tuple[float, ...], ...]) -> NDArray[np.int64]:
    """How many of a crop's pixels with data have the rank of each value of the training imagery (C, `PARTS`).

    Of several equal values, pixels have the rank of the middle one.
    """
    counts = np.zeros((len(values), len(values[0])), np.int64)
    for own, band, known in zip(counts, image, np.array(values), strict=True):
        held, times = _counted(band[valid])
        edges = (known[1:] + known[:-1]) / 2
        ranks = (np.searchsorted(edges, held, "left") + np.searchsorted(edges, held, "right")) // 2
        own += np.bincount(ranks, times, minlength=len(own)).astype(np.int64)
    return counts
