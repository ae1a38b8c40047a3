"""The compiled loops over the edges of polygons: their parts in areas, and their lengths under a projection.

In: vertices of all rings one after another. Out: a number for each step from a vertex to the next.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled

BLOCK = 512
"""Edges that are measured at once: few enough for a processor's nearest cache."""


class Horner(NamedTuple):
    """A polynomial of s and t, as it is evaluated."""

    terms: NDArray[np.float64]
    """For each power of t, the highest first, the coefficients of the powers of s, the highest that is not 0 first."""
    counts: NDArray[np.int64]
    """How many these are."""


def horner(coefficients: NDArray[np.float64]) -> Horner:
    """A polynomial with coefficients of s^i t^j (D + 1, D + 1); the highest terms that are 0 are left out."""
    columns = [np.trim_zeros(column, "b")[::-1] for column in coefficients.T[::-1]]
    terms = np.zeros(coefficients.T.shape)
    for row, column in zip(terms, columns, strict=True):
        row[: len(column)] = column
    return Horner(terms, np.array([len(column) for column in columns], np.int64))


@compiled
def value_at(polynomial: Horner, s: float, t: float) -> float:
    """Value of a polynomial at a place."""
    value = 0.0
    for row in range(len(polynomial.counts)):
        inner = 0.0
        for k in range(polynomial.counts[row]):
            inner = inner * s + polynomial.terms[row, k]
        value = value * t + inner
    return value


@compiled
def write_values(
    polynomial: Horner,
    s: NDArray[np.float64],
    t: NDArray[np.float64],
    inner: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """Write the values of a polynomial at places (N,), (N,), the same as `value_at` gives; loops over places, of which
    the processor takes several at once. `inner` (N,) is overwritten."""
    count = len(s)
    values[:] = 0.0
    for row in range(len(polynomial.counts)):
        inner[:] = 0.0
        for k in range(polynomial.counts[row]):
            term = polynomial.terms[row, k]
            for i in range(count):
                inner[i] = inner[i] * s[i] + term
        for i in range(count):
            values[i] = values[i] * t[i] + inner[i]


@compiled
def write_places(
    xy: NDArray[np.float64], origin: NDArray[np.float64], scales: NDArray[np.float64], st: NDArray[np.float64]
) -> None:
    """Write the places (V, 2) of map coordinates (V, 2), where axes are parallel: distances from an origin, scaled."""
    for k in range(len(xy)):
        for axis in range(2):
            st[k, axis] = (xy[k, axis] - origin[axis]) * scales[axis]


@compiled
def planar_parts(xy: NDArray[np.float64], rings: NDArray[np.int64], parts: NDArray[np.float64]) -> None:
    """Write the part of each step (V - 1,) in the planar area of its ring; 0 from one ring to the next.

    From each ring's first vertex, lest digits be lost far from the origin.
    """
    for ring in range(len(rings) - 1):
        low, high = rings[ring], rings[ring + 1]
        for k in range(low, high - 1):
            x, y = xy[k, 0] - xy[low, 0], xy[k, 1] - xy[low, 1]
            to_x, to_y = xy[k + 1, 0] - xy[low, 0], xy[k + 1, 1] - xy[low, 1]
            parts[k] = (x * to_y - to_x * y) / 2
        if high - 1 < len(parts):
            parts[high - 1] = 0


@compiled
def add_fluxes(
    st: NDArray[np.float64],
    antiderivative: Horner,
    quadratures: tuple[NDArray[np.float64], NDArray[np.float64]],
    short: float,
    determinant: float,
    parts: NDArray[np.float64],
) -> None:
    """Add the integral of an antiderivative along each step (V - 1,), by a quadrature.

    Args:
        st: places (V, 2).
        antiderivative: the polynomial.
        quadratures: places from 0 to 1 along a step and their weights (P, 2), for short steps and for others.
        short: longest step along either axis that is short.
        determinant: area of the map in a unit square of s and t, with a sign.
        parts: what the integrals are added to.
    """
    s, t, inner, values, flux = (np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK))
    for first in range(0, len(parts), BLOCK):
        count = min(BLOCK, len(parts) - first)
        flux[:] = 0.0
        for p in range(len(quadratures[0])):
            place, weight = quadratures[0][p]
            for i in range(count):
                k = first + i
                s[i] = st[k, 0] + place * (st[k + 1, 0] - st[k, 0])
                t[i] = st[k, 1] + place * (st[k + 1, 1] - st[k, 1])
            write_values(antiderivative, s[:count], t[:count], inner[:count], values[:count])
            for i in range(count):
                flux[i] += weight * values[i]
        for i in range(count):
            k = first + i
            step_s, step_t = st[k + 1, 0] - st[k, 0], st[k + 1, 1] - st[k, 1]
            if step_t == 0:  # an edge along a row adds nothing
                continue
            if not (abs(step_s) <= short and abs(step_t) <= short):
                flux[i] = 0.0
                for place, weight in quadratures[1]:
                    flux[i] += weight * value_at(antiderivative, st[k, 0] + place * step_s, st[k, 1] + place * step_t)
            parts[k] += flux[i] * step_t * determinant


@compiled
def write_lengths(
    xy: NDArray[np.float64],
    middles: NDArray[np.float64],
    form: tuple[Horner, Horner, Horner],
    lengths: NDArray[np.float64],
) -> None:
    """Write the length of each step (V - 1,) between vertices (V, 2), with the first fundamental form at its middle,
    whose place is given (V - 1, 2)."""
    s, t, inner = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    e, f, g = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, len(lengths), BLOCK):
        count = min(BLOCK, len(lengths) - first)
        for i in range(count):
            s[i], t[i] = middles[first + i, 0], middles[first + i, 1]
        write_values(form[0], s[:count], t[:count], inner[:count], e[:count])
        write_values(form[1], s[:count], t[:count], inner[:count], f[:count])
        write_values(form[2], s[:count], t[:count], inner[:count], g[:count])
        for i in range(count):
            k = first + i
            dx, dy = xy[k + 1, 0] - xy[k, 0], xy[k + 1, 1] - xy[k, 1]
            square = e[i] * dx * dx + 2 * f[i] * dx * dy + g[i] * dy * dy
            lengths[k] = np.sqrt(0.0 if square < 0 else square)
