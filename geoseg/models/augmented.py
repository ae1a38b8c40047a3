"""Test-time augmentation: a network sees each window turned, mirrored and scaled, and its answers are averaged.

In: band values (B, C, H, W). Out: logits (B, K, H, W). One view at a time is in memory, besides the running sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geoseg.models.networks import Segmenter


@dataclass(frozen=True)
class View:
    """A way to look at a window: scaled, then mirrored from left to right, then turned."""

    turns: int = 0
    """Quarter turns, counter-clockwise."""
    mirrored: bool = False
    """Whether left and right are swapped first."""
    scale: float = 1.0
    """Side of the window over its own."""

    def apply(self, image: Tensor) -> Tensor:
        """Turn (..., H, W) into what the network sees, but for the scale."""
        return torch.rot90(image.flip(-1) if self.mirrored else image, self.turns, (-2, -1))

    def undo(self, logits: Tensor) -> Tensor:
        """Bring the network's answer back into the window's own position."""
        turned = torch.rot90(logits, -self.turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned


FLIPS = (View(), View(mirrored=True), View(turns=2, mirrored=True), View(turns=2))
"""As it is, left and right swapped, top and bottom swapped, both."""
D4 = tuple(View(turns, mirrored) for mirrored in (False, True) for turns in range(4))
"""The eight symmetries of a square."""


SYMMETRIES = {"none": (View(),), "flips": FLIPS, "d4": D4}


def find_views(symmetries: str = "none", scales: Sequence[float] = (1.0,)) -> tuple[View, ...]:
    """Return the views of a window: each symmetry (none, flips, d4) at each scale."""
    return tuple(View(v.turns, v.mirrored, scale) for scale in scales for v in SYMMETRIES[symmetries])


class Augmented:
    """A network whose probabilities are averaged over views of each window."""

    def __init__(self, segmenter: Segmenter, views: Sequence[View], multiple: int = 1):
        """Wrap a network whose inputs have sides that are multiples of `multiple`."""
        self._segmenter, self._views, self._multiple = segmenter, views, multiple

    def __call__(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Turn band values (B, C, H, W) into logarithms of the mean probabilities (B, K, H, W)."""
        total = self._probabilities(image, self._views[0])
        for view in self._views[1:]:
            total += self._probabilities(image, view)
        return (total / len(self._views)).log()

    def _probabilities(self, image: Tensor, view: View) -> Tensor:
        scaled = image if view.scale == 1 else _resize(image, self._scaled_size(image, view.scale))
        seen = view.apply(scaled).contiguous(memory_format=torch.channels_last)
        logits = view.undo(self._segmenter(seen).float())
        probabilities = logits.softmax(dim=1)
        return probabilities if view.scale == 1 else _resize(probabilities, (image.shape[-2], image.shape[-1]))

    def _scaled_size(self, image: Tensor, scale: float) -> tuple[int, int]:
        height, width = (max(1, round(side * scale / self._multiple)) * self._multiple for side in image.shape[-2:])
        return height, width


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) linearly, averaging where it shrinks; edges stay where they are."""
    return interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
