"""Small pictures of rotated, south-up or sheared rasters, turned so that north is up. Pure functions on arrays.

In: pixels and their transform. Out: pixels of a picture whose rows run from west to east and columns from north to
south, in the coordinates of the raster's system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray


@dataclass(frozen=True)
class Turn:
    """Where the pixels (h, w) of a turned picture lie in the picture that it shows."""

    rows: NDArray[np.int64]
    """Row of the pixel that is shown (h, w)."""
    cols: NDArray[np.int64]
    """Column of it (h, w)."""
    inside: NDArray[np.bool_]
    """Whether there is one (h, w)."""
    scale: float
    """Sides of a pixel, in pixels of the picture that is shown."""

    def apply(self, values: NDArray[Any], fill: Any) -> NDArray[Any]:
        """The turned picture (h, w) or (h, w, C), `fill` where nothing is shown."""
        turned = values[self.rows, self.cols]
        turned[~self.inside] = fill
        return turned


def is_north_up(transform: Affine) -> bool:
    """Whether rows run from west to east and columns from north to south."""
    return bool(transform.b == transform.d == 0 and transform.a > 0 and transform.e < 0)


def north_up(transform: Affine, height: int, width: int, most: int) -> Turn:
    """How a picture of height × width pixels is turned; neither side gets longer than `most` pixels, or its own."""
    forth = Affine(*transform[:6])
    corners = np.array([forth @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))])
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    side = math.sqrt(abs(forth.determinant))
    step = side * max(1.0, max(east - west, north - south) / side / max(most, height, width))
    tall, wide = (max(1, math.ceil(span / step - 1e-6)) for span in (north - south, east - west))
    back = ~forth
    x, y = west + (np.arange(wide) + 0.5) * step, (north - (np.arange(tall) + 0.5) * step)[:, None]
    rows, cols = (
        np.floor(part + 1e-9).astype(np.int64)
        for part in (back.d * x + back.e * y + back.f, back.a * x + back.b * y + back.c)
    )
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    return Turn(rows.clip(0, height - 1), cols.clip(0, width - 1), inside, step / side)
