"""Surroundings of the windows of a batch: coarser views as read, and the context that a network computes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Views(NamedTuple):
    """The view of each level around the windows of a batch, and the position of the windows in it."""

    images: tuple[Tensor, ...]
    """Per level: band values and the share of each pixel that holds data (B, C + 1, n, n); or, where they are refined,
    probabilities (B, K, h, w) of a coarser view."""
    boxes: tuple[Tensor, ...]
    """Per level: left, top, right and bottom of each window as shares of its view (B, 4)."""


NO_VIEWS = Views((), ())
"""Views of windows that are classified alone."""


@dataclass(frozen=True)
class Context:
    """Features, or probabilities, of the surroundings of the windows of a batch."""

    maps: tuple[Tensor, ...]
    """Per level: features, or probabilities, of each window's view (B, F, h, w), or of one for all (1, F, h, w)."""
    boxes: tuple[Tensor, ...]
    """Per level: left, top, right and bottom of each window as shares of its view (B, 4)."""
    level: int = 0
    """Index of the first of them among all levels of the network, finest first."""

    def to(self, device: torch.device) -> Context:
        """Return a copy on a device."""
        maps, boxes = (tuple(one.to(device) for one in parts) for parts in (self.maps, self.boxes))
        return Context(maps, boxes, self.level)

    def part(self, windows: slice | list[int]) -> Context:
        """Return the context of some of the windows."""
        maps = tuple(level if len(level) == 1 else level[windows] for level in self.maps)
        return Context(maps, tuple(boxes[windows] for boxes in self.boxes), self.level)


NO_CONTEXT = Context((), ())
"""Context of windows that are classified alone."""
