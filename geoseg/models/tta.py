"""Test-time augmentation: a network sees each window turned, mirrored and scaled, and its answers are averaged.

In: band values (B, C, H, W). Out: logits (B, K, H, W). One of them at a time is in memory, besides the running sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geoseg.models.segmentation import Segmenter
from geoseg.models.surroundings import NOTHING, Context


@dataclass(frozen=True)
class Augmentation:
    """A way to show a window: scaled, then mirrored from left to right, then turned."""

    turns: int = 0
    """Quarter turns, counter-clockwise."""
    mirrored: bool = False
    """Whether left and right are swapped first."""
    scale: float = 1.0
    """Side of the window over its own."""

    def apply(self, image: Tensor) -> Tensor:
        """Turn (..., H, W) into what the network sees, but for the scale."""
        return torch.rot90(image.flip(-1) if self.mirrored else image, self.turns, (-2, -1))

    def apply_context(self, context: Context) -> Context:
        """Turn what was seen around windows with them."""
        boxes = (self._turn(box) for box in context.boxes)
        return Context(tuple(self.apply(maps) for maps in context.maps), tuple(boxes))

    def _turn(self, boxes: Tensor) -> Tensor:
        """Turn boxes (B, 4): left, top, right and bottom as shares of a view."""
        left, top, right, bottom = boxes.unbind(dim=1)
        if self.mirrored:
            left, right = 1 - right, 1 - left
        for _ in range(self.turns):
            left, top, right, bottom = top, 1 - right, bottom, 1 - left
        return torch.stack([left, top, right, bottom], dim=1)

    def undo(self, logits: Tensor) -> Tensor:
        """Bring the network's answer back into the window's own position."""
        turned = torch.rot90(logits, -self.turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned


FLIPS = (Augmentation(), Augmentation(mirrored=True), Augmentation(turns=2, mirrored=True), Augmentation(turns=2))
"""As it is, left and right swapped, top and bottom swapped, both."""
D4 = tuple(Augmentation(turns, mirrored) for mirrored in (False, True) for turns in range(4))
"""The eight symmetries of a square."""


SYMMETRIES = {"none": (Augmentation(),), "flips": FLIPS, "d4": D4}


def find_augmentations(symmetries: str = "none", scales: Sequence[float] = (1.0,)) -> tuple[Augmentation, ...]:
    """Return the ways to show a window: each symmetry (none, flips, d4) at each scale."""
    return tuple(Augmentation(v.turns, v.mirrored, scale) for scale in scales for v in SYMMETRIES[symmetries])


class Augmented:
    """A network whose probabilities are averaged over several ways to show each window."""

    def __init__(self, segmenter: Segmenter, augmentations: Sequence[Augmentation], multiple: int = 1):
        """Wrap a network whose inputs have sides that are multiples of `multiple`."""
        self._segmenter, self._augmentations, self._multiple = segmenter, augmentations, multiple

    def __call__(self, image: Tensor, context: Context = NOTHING) -> Tensor:
        """Turn band values (B, C, H, W) into logarithms of the mean probabilities (B, K, H, W)."""
        total = self._probabilities(image, context, self._augmentations[0])
        for how in self._augmentations[1:]:
            total += self._probabilities(image, context, how)
        return (total / len(self._augmentations)).log()

    def _probabilities(self, image: Tensor, context: Context, how: Augmentation) -> Tensor:
        scaled = image if how.scale == 1 else _resize(image, self._scaled_size(image, how.scale))
        seen = how.apply(scaled).contiguous(memory_format=torch.channels_last)
        logits = how.undo(self._segmenter(seen, how.apply_context(context)).float())
        probabilities = logits.softmax(dim=1)
        return probabilities if how.scale == 1 else _resize(probabilities, (image.shape[-2], image.shape[-1]))

    def _scaled_size(self, image: Tensor, scale: float) -> tuple[int, int]:
        height, width = (max(1, round(side * scale / self._multiple)) * self._multiple for side in image.shape[-2:])
        return height, width


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) linearly, averaging where it shrinks; edges stay where they are."""
    return interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
