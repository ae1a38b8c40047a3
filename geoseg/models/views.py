"""What lies around the windows of a batch, as coarser views show it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Views(NamedTuple):
    """What each level shows around the windows of a batch, and where the windows lie in it."""

    images: tuple[Tensor, ...]
    """Per level: band values and the share of each pixel that holds data (B, C + 1, n, n); or, where they are refined,
    probabilities (B, K, h, w) of a coarser view."""
    boxes: tuple[Tensor, ...]
    """Per level: left, top, right and bottom of each window as shares of its view (B, 4)."""


NO_VIEWS = Views((), ())
"""Of windows around which nothing is seen."""
