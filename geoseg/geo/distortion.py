"""Distortion of a projection over a scene, as polynomials: areas and lengths on the ellipsoid without projecting.

In: a geodetic system, the corners of a quadrangle. Out: how many square metres and metres of the ellipsoid a piece of
the map stands for, anywhere in the quadrangle. What projections do to areas and lengths is smooth; over a scene a
polynomial of a low degree gives it to 1e-8, or else there is none.

Places are given in the quadrangle's own coordinates, s along its rows and t along its columns, both from -1 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import polynomial
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from geoseg.geo.geodetic_system import Coordinates, GeodeticSystem, density_of

TOLERANCE = 1e-8
"""Largest relative error of a fit at its samples."""
HIGHEST_DEGREE = 12
"""Highest total degree of a polynomial; scenes that need more are those of half a hemisphere."""
SAMPLES = 17
"""Samples along each side: Chebyshev nodes, at which no polynomial of these degrees swings unnoticed between them."""
GAUSS = 3
"""Points of a Gauss-Legendre quadrature along a long edge: exact up to the fifth degree."""
SHORT = 0.02
"""Longest edge, as a part of half the scene, for which two such points will do."""
CHUNK = 1 << 15
"""Edges that are measured at once: few enough for a processor's cache."""
ROW_GAUSS = 8
"""The same along a row of pixels."""

Coefficients = NDArray[np.float64]
"""Coefficients of s^i t^j (D + 1, D + 1), 0 where i + j is greater than the degree D."""


@dataclass(frozen=True)
class Frame:
    """The quadrangle of a scene: an affine map between its own coordinates and those of the map."""

    origin: Coordinates
    """Its centre (2,), in map coordinates."""
    axes: NDArray[np.float64]
    """Half of its sides, in columns (2, 2): that along rows, that along columns."""

    @classmethod
    def of_corners(cls, corners: Coordinates) -> Frame:
        """The frame of a parallelogram with these corners (4, 2), counter-clockwise from the upper left."""
        upper_left, lower_left, lower_right, _ = corners
        return cls(corners.mean(axis=0), np.stack([lower_right - lower_left, lower_left - upper_left], axis=1) / 2)

    @cached_property
    def determinant(self) -> float:
        """Area of the map in a unit square of s and t, with a sign."""
        return float(np.linalg.det(self.axes))

    @property
    def is_flat(self) -> bool:
        """Whether the quadrangle has no area."""
        return not np.isfinite(self.determinant) or self.determinant == 0

    def to_map(self, st: Coordinates) -> Coordinates:
        """Map coordinates (V, 2) of places (V, 2)."""
        return self.origin + st @ self.axes.T

    def from_map(self, xy: Coordinates) -> Coordinates:
        """Places (V, 2) of map coordinates (V, 2)."""
        inverse = np.linalg.inv(self.axes)
        if inverse[0, 1] != 0 or inverse[1, 0] != 0:
            return (xy - self.origin) @ inverse.T
        from geoseg.geo.edges import write_places

        st = np.empty(xy.shape)
        write_places(xy, self.origin, np.diag(inverse).copy(), st)
        return st


@dataclass(frozen=True)
class ArealDistortion:
    """Square metres of the ellipsoid that a unit square of the map stands for, all over a scene."""

    frame: Frame
    """The scene's quadrangle."""
    density: Coefficients
    """Square metres in a unit square of the map."""

    @property
    def is_constant(self) -> bool:
        """Whether the projection keeps areas."""
        return len(self.density) == 1

    def add_excess(self, xy: Coordinates, parts: NDArray[np.float64]) -> None:
        """Add the part of each step from a vertex (V, 2) to the next (V - 1,) in what rings cover beyond their planar
        area.

        The sum over a closed ring, by Green's theorem, is the integral over its interior of the density's deviation
        from `density[0, 0]`; positive for rings that run counter-clockwise on the map.
        """
        if self.is_constant:
            return
        from geoseg.geo.edges import add_fluxes, horner

        antiderivative, quadratures = horner(self._antiderivative), (_quadrature(2), _quadrature(GAUSS))
        for chunk in _chunks(len(parts)):
            st = self.frame.from_map(xy[chunk.start : chunk.stop + 1])
            add_fluxes(st, antiderivative, quadratures, SHORT, self.frame.determinant, parts[chunk])

    def row_means(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean density (H,) of rows between edges t (H + 1,), over the whole width."""
        t = (edges[:-1] + edges[1:]) / 2
        nodes, weights = leggauss(ROW_GAUSS)
        at_nodes = [_evaluate(self.density, np.full_like(t, s), t) for s in nodes]
        return np.asarray(weights / 2 @ np.stack(at_nodes))

    @cached_property
    def _antiderivative(self) -> Coefficients:
        """Of the density without its constant, along s."""
        deviation = self.density.copy()
        deviation[0, 0] = 0
        return np.asarray(polynomial.polyint(deviation, axis=0))


@dataclass(frozen=True)
class LinearDistortion:
    """Metres of the ellipsoid that a step on the map stands for, all over a scene."""

    frame: Frame
    """The scene's quadrangle."""
    form: tuple[Coefficients, Coefficients, Coefficients]
    """E, F and G of the first fundamental form, which belong to map coordinates."""

    def lengths(self, xy: Coordinates) -> NDArray[np.float64]:
        """Metres from each vertex (V, 2) to the next (V - 1,), with the scale at the middle between them."""
        from geoseg.geo.edges import horner, write_lengths

        found = np.empty(max(0, len(xy) - 1))
        e, f, g = (horner(coefficients) for coefficients in self.form)
        for chunk in _chunks(len(found)):
            ends = xy[chunk.start : chunk.stop + 1]
            write_lengths(ends, self.frame.from_map((ends[:-1] + ends[1:]) / 2), (e, f, g), found[chunk])
        return found


def fit_areas(system: GeodeticSystem, corners: Coordinates) -> ArealDistortion | None:
    """The areal distortion between corners (4, 2); None where no polynomial describes it, as off the map."""
    frame = Frame.of_corners(corners)
    if system.to_geographic is None or frame.is_flat:
        return None
    density = density_of(_sampled_form(system, frame)) / system.unit**2
    if not np.isfinite(density).all() or density.min() <= 0:
        return None
    if np.abs(density - 1).max() <= TOLERANCE:  # made to keep areas: no digit is spent on rounding
        return ArealDistortion(frame, np.full((1, 1), system.unit**2))
    fitted = _fit(density, float(density.max()))
    return None if fitted is None else ArealDistortion(frame, fitted * system.unit**2)


def fit_lengths(system: GeodeticSystem, corners: Coordinates) -> LinearDistortion | None:
    """The linear distortion between corners (4, 2); None where no polynomial describes it, as off the map."""
    frame = Frame.of_corners(corners)
    if system.to_geographic is None or frame.is_flat:
        return None
    form = _sampled_form(system, frame)
    if not np.isfinite(form).all():
        return None
    e, f, g = (_fit(values, float(form.max())) for values in form.T)
    return None if e is None or f is None or g is None else LinearDistortion(frame, (e, f, g))


def _sampled_form(system: GeodeticSystem, frame: Frame) -> NDArray[np.float64]:
    """E, F, G (SAMPLES², 3) at the nodes."""
    return system.first_form(frame.to_map(_nodes()))


def _nodes() -> Coordinates:
    """Chebyshev nodes of the quadrangle (SAMPLES², 2)."""
    line = np.cos((np.arange(SAMPLES) + 0.5) * np.pi / SAMPLES)
    return np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)


def _fit(values: NDArray[np.float64], scale: float) -> Coefficients | None:
    """The polynomial of the lowest degree through samples at the nodes (SAMPLES²,), to TOLERANCE times a scale."""
    s, t = _nodes().T
    for degree in range(0, HIGHEST_DEGREE + 1, 2):
        powers = np.array([(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)])
        terms = s[:, None] ** powers[:, 0] * t[:, None] ** powers[:, 1]
        found = np.linalg.lstsq(terms, values, rcond=None)[0]
        if np.abs(terms @ found - values).max() <= TOLERANCE * scale:
            coefficients = np.zeros((degree + 1, degree + 1))
            coefficients[powers[:, 0], powers[:, 1]] = found
            return coefficients
    return None


def _evaluate(coefficients: Coefficients, s: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (V,) of a polynomial at places (V,), (V,); by Horner's rule, which leaves out the terms that are 0."""
    value = np.zeros_like(t)
    for column in coefficients.T[::-1]:
        inner = np.zeros_like(s)
        for coefficient in np.trim_zeros(column, "b")[::-1]:
            inner = inner * s + coefficient
        value = value * t + inner
    return value


def _quadrature(points: int) -> NDArray[np.float64]:
    """Places from 0 to 1 and their weights (P, 2) of a Gauss-Legendre quadrature."""
    places, weights = leggauss(points)
    return np.stack([(places + 1) / 2, weights / 2], axis=1)


def _chunks(count: int) -> Iterator[slice]:
    """Slices of some edges."""
    for first in range(0, count, CHUNK):
        yield slice(first, min(first + CHUNK, count))
