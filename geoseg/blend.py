"""Logits of overlapping windows become finished blocks of probabilities.

In: logits of one window after the other, in the grid's order. Out: for each window, the probabilities of its core.
Knows no files and no nodata.

The weights are a partition of unity: a window weighs 1 inside and falls to 0 across the seams it shares with its
neighbours, whose weights there are exactly 1 minus its own. So nothing is divided, a window's core is finished as soon
as the window itself is fed, and only seams wait in memory: for K classes,
K × ramp × (band width + window height) floats. What crosses from one band to the next is kept on disk.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from geoseg.grid import Axis, Grid, Place

_QUANTUM = 4096
"""Weights are multiples of 1 / 4096, so that a weight and its complement sum to exactly 1 in float32."""


def handover(ramp: int) -> Tensor:
    """Weights with which a window takes over across a seam of `ramp` pixels, rising as a raised cosine, float32."""
    phase = (torch.arange(ramp, dtype=torch.float64) + 0.5) / max(ramp, 1)
    rising = (1 - torch.cos(torch.pi * phase)) / 2
    return (torch.round(rising * _QUANTUM) / _QUANTUM).float()


class Blender:
    """Feed windows in the order of `grid.places()`, take finished probabilities; see the module for what it holds.

    A window may be left out when none of its pixels matters: whoever shares a seam with it then lacks its part there.
    """

    def __init__(self, grid: Grid, scratch: Path | None = None):
        """Blend windows of `grid`; `scratch` is the folder for what passes between bands (default: the system's)."""
        self._grid = grid
        self._rising = handover(grid.rows.ramp)[:, None], handover(grid.cols.ramp)
        self._above: dict[int, tuple[int, Tensor]] = {}
        self._band = -1
        self._left: tuple[int, int, Tensor] | None = None
        self._band_ends = {band[-1] for band in grid.bands()[:-1]}
        self._shelf = _Shelf(scratch)

    def feed(self, place: Place, probabilities: Tensor) -> Tensor:
        """Add the probabilities (K, T, T) of one window; return those of its core (K, h, w), which are final."""
        rows, cols = self._grid.rows, self._grid.cols
        part = self._weigh(place, probabilities)
        part = self._join_left(place, part, cols)
        part = self._join_above(place, part, rows)
        return self._crop_padding(place, part)

    def _weigh(self, place: Place, probabilities: Tensor) -> Tensor:
        """Cut the window to where it counts and weigh its seams."""
        (top, bottom), (left, right) = self._grid.rows.reach(place.i), self._grid.cols.reach(place.j)
        row, col = self._grid.rows.starts[place.i], self._grid.cols.starts[place.j]
        part = probabilities[:, top - row : bottom - row, left - col : right - col].float().clone()
        for axis, index, count in ((1, place.i, self._grid.rows.count), (2, place.j, self._grid.cols.count)):
            rising = self._rising[axis - 1].to(part.device)
            ramp = rising.shape[0]
            if ramp and index:
                part.narrow(axis, 0, ramp).mul_(rising)
            if ramp and index < count - 1:
                part.narrow(axis, part.shape[axis] - ramp, ramp).mul_(1 - rising)
        return part

    def _join_left(self, place: Place, part: Tensor, cols: Axis) -> Tensor:
        """Add the seam of the window to the left, set aside the one to the right."""
        if place.j and (seam := self._take_left(place, part)) is not None:
            part[:, :, : cols.ramp] += seam
        if place.j == cols.count - 1:
            return part
        inner = part.shape[2] - cols.ramp
        self._put_left(place, part[:, :, inner:])
        return part[:, :, :inner]

    def _put_left(self, place: Place, seam: Tensor) -> None:
        if place.j in self._band_ends:
            self._shelf.put((place.i, place.j), seam)
        else:
            self._left = place.i, place.j, seam.clone()

    def _take_left(self, place: Place, part: Tensor) -> Tensor | None:
        if place.j - 1 in self._band_ends:
            return self._shelf.take((place.i, place.j - 1), part.device)
        if self._left is not None and self._left[:2] == (place.i, place.j - 1):
            return self._left[2]
        return None

    def _join_above(self, place: Place, part: Tensor, rows: Axis) -> Tensor:
        """Add the seam of the windows above, set aside the one below."""
        if self._band != (band := place.j // self._grid.band_columns):
            self._band, self._above = band, {}  # seams above windows that were left out
        row, seam = self._above.pop(place.j, (-1, None))
        if seam is not None and row == place.i - 1:
            part[:, : rows.ramp] += seam
        if place.i == rows.count - 1:
            return part
        inner = part.shape[1] - rows.ramp
        self._above[place.j] = place.i, part[:, inner:].clone()
        return part[:, :inner]

    def _crop_padding(self, place: Place, part: Tensor) -> Tensor:
        """Drop what lies outside the scene."""
        top = self._grid.rows.core(place.i)[0] - self._grid.border
        left = self._grid.cols.core(place.j)[0] - self._grid.border
        core = place.core
        return part[:, core.row - top :, core.col - left :][:, : core.height, : core.width]


class _Shelf:
    """Seams between bands, float32, in an unnamed file: only their places and shapes stay in memory."""

    def __init__(self, folder: Path | None):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the shelf
        self._entries: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {}

    def put(self, key: tuple[int, int], seam: Tensor) -> None:
        self._entries[key] = self._file.seek(0, 2), tuple(seam.shape)
        self._file.write(seam.contiguous().cpu().numpy().tobytes())

    def take(self, key: tuple[int, int], device: torch.device) -> Tensor | None:
        if key not in self._entries:
            return None
        offset, shape = self._entries.pop(key)
        self._file.seek(offset)
        values = np.frombuffer(bytearray(self._file.read(4 * int(np.prod(shape)))), dtype=np.float32)
        return torch.from_numpy(values.reshape(shape)).to(device)
