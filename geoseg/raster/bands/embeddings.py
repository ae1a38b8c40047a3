"""Whether the bands of a raster are the axes of an embedding: numbers that a foundation model gives each pixel.

In: names of bands, type and values. Out: yes or no, and what the vectors are like. Pure functions.

Such products have many bands without spectral names, and values of both signs. Those of AlphaEarth Foundations (Brown
et al. 2025) have 64, A00 to A63, as bytes with a sign: v stands for sign(v) (v / 127.5)², of which a pixel's vector has
the length 1; -128 is no data, and then in all bands.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.bands.names import agreed_roles

FEWEST_AXES = 8
"""Bands below which values of both signs are something else, e.g. radar in decibels, unless they are bytes."""
_BYTE_SCALE = 127.5
"""Number by which bytes are divided before they are squared."""
_UNIT = 0.05
"""Deviation of a mean length from 1 up to which vectors count as of unit length: bytes round."""


def may_be_axes(names: Sequence[str], dtype: str) -> bool:
    """Whether bands could be axes by their names, number and type, whatever their values."""
    has_room = dtype == "int8" or (len(names) >= FEWEST_AXES and np.dtype(dtype).kind in "if")
    return has_room and not any(agreed_roles(names))


def are_axes(names: Sequence[str], dtype: str, lowest: float) -> bool:
    """Whether bands are the axes of an embedding, given their lowest value, too."""
    return lowest < 0 and may_be_axes(names, dtype)


def describe_vectors(values: NDArray[np.generic]) -> str:
    """What vectors (C, n) are like, in words, e.g. "of unit length"."""
    vectors = values.astype(np.float64)
    if _have_unit_length(vectors):
        return "of unit length"
    if values.dtype == np.int8 and _have_unit_length((vectors / _BYTE_SCALE) ** 2):
        return "of unit length once bytes v are read as sign(v) (v / 127.5)²"
    lengths = np.linalg.norm(vectors, axis=0)
    return f"of length {np.median(lengths):.3g} and {lengths.std():.2g} more or less"


def _have_unit_length(vectors: NDArray[np.float64]) -> bool:
    lengths = np.linalg.norm(vectors, axis=0)
    return bool(abs(lengths.mean() - 1) < _UNIT and lengths.std() < _UNIT)
