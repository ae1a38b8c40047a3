"""Small files of bands, of which examples of products are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

SIDE_M = 1920
"""Side of the example's area in metres: whole pixels of 10, 15, 20, 30 and 60 m."""


def write_band(path: Path, metres: int, value: int, crs: str, shift_m: float = 0.0) -> None:
    """Write a band of one value with a slope from left to right; the first row of 60 m is 0."""
    side = SIDE_M // metres
    values = np.full((1, side, side), value, np.uint16) + np.arange(side, dtype=np.uint16) * np.uint16(metres) // 10
    values[:, : 60 // metres] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = from_origin(600_000 - shift_m, 5_000_000 + shift_m, metres, metres)
    with rasterio.open(path, "w", "GTiff", side, side, 1, crs, transform, "uint16") as file:
        file.write(values)
