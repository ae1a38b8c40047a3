"""What tracing gives: the regions of a class raster with their rings on the pixel lattice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

Strip = tuple[int, NDArray[np.uint8], NDArray[np.uint8] | None]
"""First row, class ids (h, W), confidence (h, W) or None."""

Offsets = NDArray[np.int64]
"""Where each of M consecutive pieces begins, and where the last one ends (M + 1,)."""

BATCH = 1 << 20
"""Vertices turned into polygons at once, so that only a batch is ever held twice."""


@dataclass(frozen=True)
class Regions:
    """N regions in the order of their first pixel, row by row; exterior ring first, then the holes."""

    class_id: NDArray[np.uint8]
    """Class of each region (N,)."""
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

    def __len__(self) -> int:
        return len(self.class_id)

    @property
    def geometry(self) -> NDArray[np.object_]:
        """The polygons in lattice coordinates (N,), built anew at each call."""
        return self.polygons(Affine.identity())

    def polygons(self, transform: Affine) -> NDArray[np.object_]:
        """The polygons with their vertices moved through `transform` (N,), exteriors counter-clockwise.

        Element by element, so that a node gets the same value for each ring that passes it: a matrix product rounds
        differently from place to place and would open gaps.
        """
        batches = [self._batch(first, last, transform) for first, last in self._batches()]
        polygons = np.concatenate([np.empty(0, object), *batches])
        mirrored = transform.determinant < 0  # as in every north-up raster: then rings are as they should be
        return polygons if mirrored else shapely.reverse(polygons)

    def _batches(self) -> Iterator[tuple[int, int]]:
        """Consecutive regions (first, last + 1) of together about BATCH vertices."""
        ends = self.ring_offsets[self.region_offsets]
        cuts = np.searchsorted(ends, np.arange(0, ends[-1], BATCH))
        edges = np.unique([*cuts, len(self)])
        return itertools.pairwise(edges)

    def _batch(self, first: int, last: int, transform: Affine) -> NDArray[np.object_]:
        rings = self.region_offsets[first : last + 1]
        vertices = self.ring_offsets[rings[0] : rings[-1] + 1]
        column, row = self.corners[vertices[0] : vertices[-1]].T.astype(np.float64)
        a, b, c, d, e, f = transform[:6]
        xy = np.stack([a * column + b * row + c, d * column + e * row + f], axis=1)
        offsets = (vertices - vertices[0], rings - rings[0])
        return shapely.from_ragged_array(shapely.GeometryType.POLYGON, xy, offsets)
