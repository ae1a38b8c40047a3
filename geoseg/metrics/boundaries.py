"""Pixels near the contours of classes."""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg.spec import IGNORE


def find_boundaries(classes: Tensor, reach: int) -> Tensor:
    """Mask (B, H, W) of pixels that have another class, not IGNORE, within `reach` pixels in each direction.

    That is each class's mask without its erosion by a square of 2 · reach + 1 pixels; pixels beyond the window and
    IGNORE pixels belong to every mask. A pixel has another class near it if the highest or the lowest class there is
    not its own: two filters for all classes at once, instead of one for each.
    """
    labelled = classes != IGNORE
    up = classes.to(torch.uint8)
    ranks = torch.stack((up, IGNORE - up), dim=1) * labelled[:, None]  # (B, 2, H, W); 0 loses against every class
    highest = _spread(_spread(ranks, reach, dim=2), reach, dim=3)
    return (highest > ranks).any(dim=1) & labelled


def _spread(values: Tensor, reach: int, dim: int) -> Tensor:
    """Highest value within `reach` pixels along a dimension, by windows that grow threefold.

    In bytes on a CPU some 80 times as fast as max_pool2d: 1.5 ms instead of 124 ms for 4 × 1024² pixels and reach 3.
    """
    done, length = 0, values.shape[dim]
    while done < min(reach, length - 1):
        step = min(2 * done + 1, reach - done, length - 1)
        wider = values.clone()
        for to, source in ((step, 0), (0, step)):
            part = wider.narrow(dim, to, length - step)
            torch.maximum(part, values.narrow(dim, source, length - step), out=part)
        values, done = wider, done + step
    return values
