"""Statistics of crops of a scene, kept with the tile rows that they are of. Knows neither network nor job."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from geoseg.raster.curves import Floats


@dataclass(frozen=True)
class CropStatistics:
    """Numbers that describe N crops."""

    bands: Floats
    """Mean and standard deviation of each band (N, 2C)."""
    features: NDArray[np.float32]
    """Features of the network (N, F)."""
    ranks: NDArray[np.int64]
    """How many of their pixels have the rank of each of the values of the training imagery (C, P)."""

    @classmethod
    def join(cls, parts: Iterable[CropStatistics]) -> Self | None:
        """All of several parts, in their order; None without parts."""
        held = list(parts)
        if not held:
            return None
        bands, features = (np.concatenate([getattr(part, name) for part in held]) for name in ("bands", "features"))
        return cls(bands, features, np.sum([part.ranks for part in held], axis=0))
