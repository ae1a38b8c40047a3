"""Windows turned, mirrored and scaled out of what was read for them, with their labels.

In: band values (B, C, R, R), labels (B, R, R), affine matrices (B, 2, 3). Out: the same, S pixels wide. On a CPU,
windows that are turned by quarters and mirrored alone are copied pixel by pixel, and each window is finished before the
next: it fits into the processor's cache, a batch does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.spec import IGNORE

EXACT_PX = 0.01
"""Distance in pixels up to which a place counts as that of a pixel: matrices of quarter turns are rounded."""


class QuarterTurn(NamedTuple):
    """A window turned by quarters, and mirrored."""

    swaps: bool
    """Whether rows of the window are columns of what was read."""
    mirrored: tuple[int, ...]
    """Axes, of rows (-2) and columns (-1), that are mirrored after that."""

    def __call__(self, read: Tensor, side: int) -> Tensor:
        """The middle (..., S, S) of what was read (..., R, R), turned; a copy, or a view of it."""
        margin = (read.shape[-1] - side) // 2
        middle = read[..., margin : margin + side, margin : margin + side]
        return (middle.transpose(-2, -1) if self.swaps else middle).flip(self.mirrored)


def resample(image: Tensor, labels: Tensor, matrices: Tensor, side: int, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Resample a batch to `side`: the image bilinearly, its labels by the nearest pixel; outside: fill and IGNORE.

    Args:
        image: band values (B, C, R, R) of any type.
        labels: class indexes (B, R, R) of any type.
        matrices: affine matrices (B, 2, 3) from the window to what was read, coordinates of both from -1 to 1.
        side: S, in pixels.
        fill: band values (C,), float32.

    Returns:
        Band values (B, C, S, S), float32, and class indexes (B, S, S), int64.
    """
    if image.device.type != "cpu":
        return _interpolate(image, labels, matrices, side, fill)
    moved = torch.empty(*image.shape[:2], side, side)
    ids = torch.empty(len(image), side, side, dtype=torch.int64)
    for number, turn in enumerate(quarter_turns(matrices, side, image.shape[-1])):
        if turn is None:
            one = slice(number, number + 1)
            moved[one], ids[one] = _interpolate(image[one], labels[one], matrices[one], side, fill)
        else:
            moved[number], ids[number] = turn(image[number], side), turn(labels[number], side)
    return moved, ids


def quarter_turns(matrices: Tensor, side: int, read_side: int) -> Iterator[QuarterTurn | None]:
    """The quarter turn of each matrix (B, 2, 3) that copies pixels from `read_side` to `side`; None for others."""
    fits = read_side >= side and (read_side - side) % 2 == 0
    for (a, b, x), (c, d, y) in matrices.tolist():
        unit = tuple(value * read_side / side for value in (a, b, c, d))
        whole = tuple(round(value) for value in unit)
        far_px = max(abs(value - one) for value, one in zip(unit, whole, strict=True)) * side
        is_exact = fits and x == y == 0 and far_px < EXACT_PX
        if is_exact and whole[1:3] == (0, 0) and abs(whole[0] * whole[3]) == 1:
            yield QuarterTurn(False, _mirrored(rows=whole[3], cols=whole[0]))
        elif is_exact and whole[0] == whole[3] == 0 and abs(whole[1] * whole[2]) == 1:
            yield QuarterTurn(True, _mirrored(rows=whole[1], cols=whole[2]))
        else:
            yield None


def _mirrored(rows: int, cols: int) -> tuple[int, ...]:
    return tuple(axis for axis, sign in ((-2, rows), (-1, cols)) if sign < 0)


def _interpolate(image: Tensor, labels: Tensor, matrices: Tensor, side: int, fill: Tensor) -> tuple[Tensor, Tensor]:
    grid = functional.affine_grid(matrices.to(fill), [len(image), 1, side, side], align_corners=False)
    # Both are shifted so that pixels outside are zero, the only constant that grid_sample pads with.
    level = fill.view(1, -1, 1, 1)
    shifted = image.to(torch.float32, copy=True).sub_(level)  # subtracting from bytes would take eight times as long
    moved = functional.grid_sample(shifted, grid, mode="bilinear", align_corners=False).add_(level)
    own = labels.unsqueeze(1).to(torch.float32, copy=True).sub_(IGNORE)
    ids = functional.grid_sample(own, grid, mode="nearest", align_corners=False).squeeze(1).round_().add_(IGNORE)
    return moved, ids.long()
