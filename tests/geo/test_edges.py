"""Compiled loops over edges, against the same formulas in NumPy: not a bit differs."""

import numpy as np
import pytest
from numpy.polynomial import polynomial
from numpy.polynomial.legendre import leggauss

from geoseg.geo.distortion import CHUNK, GAUSS, SHORT, ArealDistortion, Frame, LinearDistortion
from geoseg.geo.edges import BLOCK, planar_parts

CORNERS = {
    "north-up": [(500_000, 4_300_000), (500_000, 4_290_000), (508_000, 4_290_000), (508_000, 4_300_000)],
    "rotated": [(500_000, 4_300_000), (496_000, 4_291_000), (504_000, 4_288_000), (508_000, 4_297_000)],
}
COUNTS = [0, 1, 2, BLOCK, BLOCK + 2, CHUNK + 7]
DENSITY = np.array([[1.0008, 3e-6, 2e-7], [-4e-6, 5e-7, 0], [8e-7, 0, 0]])


def horner(coefficients, s, t) -> np.ndarray:
    value = np.zeros_like(t)
    for column in coefficients.T[::-1]:
        inner = np.zeros_like(s)
        for coefficient in np.trim_zeros(column, "b")[::-1]:
            inner = inner * s + coefficient
        value = value * t + inner
    return value


def steps_through(frame, count) -> np.ndarray:
    """Vertices (count, 2): most steps are short, a third run along rows, some are long."""
    rng = np.random.default_rng(count)
    st = np.cumsum(rng.uniform(-SHORT, SHORT, (count, 2)) * rng.choice([1, 1, 1, 5], (count, 1)), axis=0)
    st[1::3, 1] = st[::3, 1][: len(st[1::3])]
    return frame.to_map(np.clip(st, -1, 1))


@pytest.fixture(params=list(CORNERS))
def frame(request) -> Frame:
    return Frame.of_corners(np.array(CORNERS[request.param], float))


@pytest.mark.parametrize("count", COUNTS)
def test_what_a_distortion_adds_to_areas(frame, count):
    xy, distortion = steps_through(frame, count), ArealDistortion(frame, DENSITY)
    added = np.full(max(0, count - 1), 17.25)
    distortion.add_excess(xy, added)
    if not len(added):
        return
    st = (xy - frame.origin) @ np.linalg.inv(frame.axes).T
    deviation = DENSITY.copy()
    deviation[0, 0] = 0
    antiderivative, step = polynomial.polyint(deviation, axis=0), np.diff(st, axis=0)
    is_short, expected = np.abs(step).max(axis=1) <= SHORT, np.zeros(len(added))
    for points, chosen in ((2, is_short), (GAUSS, ~is_short)):
        flux = np.zeros(len(added))
        for place, weight in zip(*leggauss(points), strict=True):
            flux += weight / 2 * horner(antiderivative, *(st[:-1] + (place + 1) / 2 * step).T)
        expected[chosen] = (flux * step[:, 1] * frame.determinant)[chosen]
    np.testing.assert_array_equal(added, 17.25 + expected)
    assert count < BLOCK or (~is_short).any()


@pytest.mark.parametrize("count", COUNTS)
def test_lengths(frame, count):
    xy, form = steps_through(frame, count), (DENSITY, DENSITY * 1e-3, DENSITY[:1, :1] * 1.1)
    found = LinearDistortion(frame, form).lengths(xy)
    s, t = (((xy[:-1] + xy[1:]) / 2 - frame.origin) @ np.linalg.inv(frame.axes).T).T
    (e, f, g), (dx, dy) = (horner(terms, s, t) for terms in form), np.diff(xy, axis=0).T
    np.testing.assert_array_equal(found, np.sqrt(np.maximum(e * dx * dx + 2 * f * dx * dy + g * dy * dy, 0)))


def test_planar_parts_end_with_their_rings():
    xy = np.array([(0, 0), (2, 0), (2, 2), (0, 0), (5, 5), (9, 5), (9, 6), (5, 5)], float)
    parts = np.full(len(xy) - 1, np.nan)
    planar_parts(xy, np.array([0, 4, 8]), parts)
    assert parts.tolist() == [0, 2, 0, 0, 0, 2, 0]
