"""Logits of overlapping windows become final logits of the pixels they cover.

In: logits of one window after the other, in the grid's order. Out: for each window, the logits of its core, final.
Knows no files and no nodata.

Where one window alone decides, its logits pass through as they are. Only across the seams between neighbours are
they turned into probabilities, weighed and summed, and their logarithms put in place: a softmax of what comes out gives
the blended probabilities everywhere. The weights are a partition of unity: a window weighs 1 inside and falls to 0
across the seams it shares with its neighbours, whose weights there are exactly 1 minus its own. So nothing is
divided, and a window's core is finished as soon as the window itself is fed. What waits is the seam to the right, K ×
height × ramp floats, and the seams to the tile row below, which `Seams` keeps.

Cores that are interpolated to another grid need the first pixel behind them, their *lap*. Weights begin with a 0 there,
so that it is decided by the window alone, and both neighbours have the same value for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from geoseg.geo.grid import Grid, Place, Window

_QUANTUM = 4096
"""Weights are multiples of 1 / 4096, so that a weight and its complement sum to exactly 1 in float32."""


def handover(ramp: int, lap: int = 0) -> Tensor:
    """Weights with which a window takes over across a seam of `ramp` pixels, float32.

    They rise as a raised cosine, behind `lap` pixels of weight 0.
    """
    if lap:
        return torch.cat([torch.zeros(min(lap, ramp)), handover(max(ramp - lap, 0))])
    phase = (torch.arange(ramp, dtype=torch.float64) + 0.5) / max(ramp, 1)
    rising = (1 - torch.cos(torch.pi * phase)) / 2
    return (torch.round(rising * _QUANTUM) / _QUANTUM).float()


class Seams(Protocol):
    """Stores seams between tile rows: weighted probabilities (K, ramp, w) below each window's core and its lap."""

    def above(self, place: Place) -> Tensor | None:
        """Return the part of the window above in the seam above this one; None if that window was left out."""
        ...

    def below(self, place: Place, seam: Tensor) -> None:
        """Store this window's part of the seam below it."""
        ...

    def open(self, place: Place, seam: Tensor) -> None:
        """Store this window's part (K, ramp + lap, w) of the seam above, which another process finishes once it has
        both parts."""
        ...


class SeamsInMemory:
    """The seams of one tile row, held in memory: K × ramp × scene width floats."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, int], Tensor] = {}

    def above(self, place: Place) -> Tensor | None:
        """Return the part of the window above, and drop it."""
        return self._held.pop((place.i - 1, place.j), None)

    def below(self, place: Place, seam: Tensor) -> None:
        """Store a seam; drop those that were not fetched."""
        for key in [key for key in self._held if key[0] < place.i - 1]:
            del self._held[key]
        self._held[place.i, place.j] = seam

    def open(self, place: Place, seam: Tensor) -> None:
        """Fail: a seam in memory is not seen by another process that could finish it."""
        raise NotImplementedError("seams in memory begin with the first tile row")


@dataclass(frozen=True)
class Block:
    """Finished pixels."""

    window: Window
    """Their window of the scene, without the lap; may be empty."""
    logits: Tensor
    """(K, h, w), float32; with the lap as much higher and wider, where the scene goes on."""


class Blender:
    """Blends windows, fed tile row by tile row and from left to right, and returns their finished cores.

    A window whose pixels do not matter may be left out: the seams that it shares then lack its part.
    """

    def __init__(self, grid: Grid, seams: Seams | None = None, open_tile_row: int | None = None, lap: int = 0):
        """Start with the first window of the grid.

        Args:
            grid: the windows.
            seams: stores the seams between tile rows; default: in memory.
            open_tile_row: the tile row whose upper seam is left open, because another process has the one above.
            lap: pixels behind each core that are returned with it, 0 or 1.
        """
        self._grid, self._open, self._lap = grid, open_tile_row, lap
        self._seams = SeamsInMemory() if seams is None else seams
        self._rising = handover(grid.rows.ramp, lap), handover(grid.cols.ramp, lap)
        self._left: tuple[int, int, Tensor] | None = None
        self._weights_of: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def feed(self, place: Place, logits: Tensor) -> Block:
        """Add the logits (K, h, w) of one window; return its core, without its upper seam if that is left open.

        The core is a part of the same memory, in which seams are replaced.
        """
        part = logits[:, *self._grid.inside(place)].float()
        top, bottom, left, right = self._ramps(place)
        height, width = part.shape[1] - bottom, part.shape[2] - right
        tall, wide, over = (side + min(self._lap, seam) for side, seam in ((height, bottom), (width, right), (0, top)))
        across, down = self._weights(place, part)
        core = part[:, :tall, :wide]
        upper = _weighed(part[:, : top + over, :wide], down[: top + over], across[:wide])
        lower = _weighed(part[:, height:, :wide], down[height:], across[:wide])
        if left:
            beside = self._join_left(place, _weighed(part[:, :, :left], down, across[:left]))
            upper[:, :, :left], lower[:, :, :left] = beside[:, : top + over], beside[:, height:]
            core[:, :, :left] = beside[:, :tall].log()
        if right:
            self._left = place.i, place.j, _weighed(part[:, :, width:], down, across[width:])
        if bottom:
            self._seams.below(place, lower)
        if top and place.i == self._open:
            self._seams.open(place, upper)
            return crop_to_scene(self._grid, place, core[:, top:], Window(top, 0, height - top, width))
        if top:
            above = self._seams.above(place)
            core[:, :top] = (upper[:, :top] if above is None else upper[:, :top] + above.to(upper.device)).log()
        return crop_to_scene(self._grid, place, core, Window(0, 0, height, width))

    def _ramps(self, place: Place) -> tuple[int, int, int, int]:
        """Widths of the seams at the top, bottom, left and right of what a window decides; 0 where it has none."""
        rows, cols = self._grid.rows, self._grid.cols
        return (
            rows.ramp if place.i else 0,
            rows.ramp if place.i < rows.count - 1 else 0,
            cols.ramp if place.j else 0,
            cols.ramp if place.j < cols.count - 1 else 0,
        )

    def _weights(self, place: Place, part: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the columns and of the rows of what a window decides."""
        key = *self._ramps(place), *part.shape[1:]
        if key not in self._weights_of:
            self._weights_of[key] = self._new_weights(place, part)
        return self._weights_of[key]

    def _new_weights(self, place: Place, part: Tensor) -> tuple[Tensor, Tensor]:
        top, bottom, left, right = self._ramps(place)
        down, across = part.new_ones(part.shape[1]), part.new_ones(part.shape[2])
        for weights, rising, before, after in (
            (down, self._rising[0], top, bottom),
            (across, self._rising[1], left, right),
        ):
            rising = rising.to(part.device)
            if before:
                weights[:before] = rising
            if after:
                weights[-after:] = 1 - rising
        return across, down

    def _join_left(self, place: Place, seam: Tensor) -> Tensor:
        """Add what the window to the left left for this one."""
        if self._left is not None and self._left[:2] == (place.i, place.j - 1):
            return seam + self._left[2]
        return seam


def seam_of(grid: Grid, place: Place, seam: Tensor) -> Block:
    """The seam between a window's core and the one above, given its summed probabilities (K, ramp + lap, w)."""
    left, right = grid.cols.core(place.j)
    return crop_to_scene(grid, place, seam.log(), Window(0, 0, grid.rows.ramp, right - left))


def crop_to_scene(grid: Grid, place: Place, logits: Tensor, part: Window) -> Block:
    """Crop logits (K, h, w) to the scene: those of a part of a window's core, given relative to it, and of its lap."""
    top = grid.rows.core(place.i)[0] - grid.border + part.row
    left = grid.cols.core(place.j)[0] - grid.border + part.col
    whole = Window(top, left, logits.shape[1], logits.shape[2]).clip(grid.height, grid.width)
    window = Window(top, left, part.height, part.width).clip(grid.height, grid.width)
    return Block(window, logits[:, *whole.shift(-top, -left).slices])


def _weighed(logits: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Probabilities (K, h, w), each row and each column with its weight."""
    return logits.softmax(dim=0) * down[:, None] * across
