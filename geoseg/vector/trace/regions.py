"""What tracing gives: the regions of a class raster with their rings on the pixel lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Offsets = NDArray[np.int64]
"""Where each of M consecutive pieces begins, and where the last one ends (M + 1,)."""


@dataclass(frozen=True)
class Regions:
    """N regions in the order of their first pixel, row by row; exterior ring first, then the holes."""

    class_id: NDArray[np.integer[Any]]
    """Class of each region (N,), as the strips have it."""
    pixels: NDArray[np.int64]
    """Size of each region in pixels (N,)."""
    confidence: NDArray[np.float64] | None
    """Mean of the confidence values in each region (N,), in the unit they came in; None if none were given."""
    corners: NDArray[np.int32] | NDArray[np.float64]
    """Lattice coordinates (x, y) of all rings one after another (V, 2); each ring ends on its first vertex."""
    ring_offsets: Offsets
    """Where each ring begins in `corners` (R + 1,)."""
    region_offsets: Offsets
    """Where each region begins among the rings (N + 1,)."""
    touching: NDArray[np.int64]
    """Pairs of regions of one class that touch at a corner (T, 2); a pair may occur several times."""
    instance_id: NDArray[np.int64] | None = None
    """Number of the instance that each region belongs to, 0 for none (N,); None if instances are not numbered."""

    def __len__(self) -> int:
        return len(self.class_id)

    @property
    def geometry(self) -> NDArray[np.object_]:
        """The polygons in lattice coordinates (N,), built anew at each call, exteriors counter-clockwise."""
        offsets = self.ring_offsets, self.region_offsets
        polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.corners.astype(np.float64), offsets)
        return np.asarray(shapely.reverse(polygons))  # edges run counter-clockwise as seen on the screen

    def without_rings(self) -> Regions:
        """The same regions, while their rings, which take most of the memory, are made anew."""
        return replace(self, corners=np.empty((0, 2), np.int32), ring_offsets=np.zeros(1, np.int64))

    def take(self, order: NDArray[np.int64]) -> Regions:
        """The same regions in another order, or some of them."""
        rings, region_offsets = take_pieces(self.region_offsets, order)
        vertices, ring_offsets = take_pieces(self.ring_offsets, rings)
        return Regions(
            class_id=self.class_id[order],
            pixels=self.pixels[order],
            confidence=None if self.confidence is None else self.confidence[order],
            corners=self.corners[vertices],
            ring_offsets=ring_offsets,
            region_offsets=region_offsets,
            touching=np.empty((0, 2), np.int64),
            instance_id=None if self.instance_id is None else self.instance_id[order],
        )


def take_pieces(offsets: Offsets, order: NDArray[np.int64]) -> tuple[NDArray[np.int64], Offsets]:
    """Numbers of the members of some pieces, piece after piece, and where each of these pieces begins among them."""
    sizes = np.diff(offsets)[order]
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    members = np.arange(ends[-1]) + np.repeat(offsets[:-1][order] - ends[:-1], sizes)
    return members, ends
