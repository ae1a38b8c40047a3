"""Labelled features of vector files, one by one: what a split by polygon deals out. Reads nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.geo.antimeridian import Shapes


@dataclass(frozen=True)
class Features:
    """The labelled features near one image, in parts, in the order in which they are rasterized."""

    shapes: Shapes
    """Single polygons (M,) in the image's coordinate system."""
    keys: NDArray[np.str_]
    """Key of the feature that each part belongs to (M,): equal in all images that show it."""
    indexes: NDArray[np.uint8]
    """Class index of each part (M,), IGNORE where its class is left out."""


NO_FEATURES = Features(np.zeros(0, object), np.zeros(0, np.str_), np.zeros(0, np.uint8))
"""Features of labels that are rasters."""


def feature_keys(shapes: Shapes) -> NDArray[np.str_]:
    """Keys of features (N,), from their geometry in the file: features with the same outline are one."""
    return np.array([hashlib.blake2b(wkb, digest_size=12).hexdigest() for wkb in shapely.to_wkb(shapes)], np.str_)
