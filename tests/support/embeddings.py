"""Drawn embeddings: four classes, each around a direction of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.rasters import write_raster

HOLE = np.s_[..., :8, :8]
"""Pixels without data."""


def draw_vectors(classes: NDArray[np.integer], axes: int = 64, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of unit length (axes, H, W), given the class of each pixel (H, W)."""
    centres = np.random.default_rng(7).normal(size=(4, axes))
    vectors = centres[classes] + 0.8 * np.random.default_rng(seed).normal(size=(*classes.shape, axes))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return vectors.transpose(2, 0, 1).astype(np.float32)


def quantized(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """The same as bytes, as AlphaEarth Foundations' are."""
    return np.rint(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5).clip(-127, 127).astype(np.int8)


def write_embedding(
    path: Path,
    classes: NDArray[np.integer],
    *,
    axes: int = 64,
    dtype: str = "int8",
    named: bool = True,
    seed: int = 0,
    **profile: Any,
) -> Path:
    """Write an embedding with a corner without data."""
    values: NDArray[Any] = draw_vectors(classes, axes, seed)
    if dtype == "int8":
        values = quantized(values)
    values[HOLE] = -128 if dtype == "int8" else np.nan
    marks = {"nodata": -128} if dtype == "int8" else {}
    names = [f"A{axis:02}" for axis in range(axes)] if named else None
    return write_raster(path, values, **{**marks, **({"descriptions": names} if names else {}), **profile})
