"""Test-time augmentation: the probabilities of rotated, mirrored and scaled windows are averaged.

In: band values (B, C, H, W). Out: logits (B, K, H, W). One augmentation at a time is in memory, besides the sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from geoseg.models.segmentation import Segmenter
from geoseg.models.surroundings import NO_CONTEXT, Context


@dataclass(frozen=True)
class Augmentation:
    """An augmentation of a window: scaled, then mirrored from left to right, then rotated."""

    turns: int = 0
    """Quarter turns, counter-clockwise."""
    mirrored: bool = False
    """Whether left and right are swapped first."""
    scale: float = 1.0
    """Side of the scaled window over that of the window."""

    def apply(self, image: Tensor) -> Tensor:
        """Mirror and rotate (..., H, W); scaling is done apart."""
        return torch.rot90(image.flip(-1) if self.mirrored else image, self.turns, (-2, -1))

    def apply_context(self, context: Context) -> Context:
        """Mirror and rotate the context of windows likewise."""
        boxes = (self._turn(box) for box in context.boxes)
        return Context(tuple(self.apply(maps) for maps in context.maps), tuple(boxes), context.level)

    def _turn(self, boxes: Tensor) -> Tensor:
        """Mirror and rotate boxes (B, 4): left, top, right and bottom as shares of a view."""
        left, top, right, bottom = boxes.unbind(dim=1)
        if self.mirrored:
            left, right = 1 - right, 1 - left
        for _ in range(self.turns):
            left, top, right, bottom = top, 1 - right, bottom, 1 - left
        return torch.stack([left, top, right, bottom], dim=1)

    def undo(self, logits: Tensor) -> Tensor:
        """Rotate and mirror logits (..., H, W) back."""
        turned = torch.rot90(logits, -self.turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned


FLIPS = (Augmentation(), Augmentation(mirrored=True), Augmentation(turns=2, mirrored=True), Augmentation(turns=2))
"""Unchanged, left and right swapped, top and bottom swapped, both."""
D4 = tuple(Augmentation(turns, mirrored) for mirrored in (False, True) for turns in range(4))
"""The eight symmetries of a square."""


SYMMETRIES = {"none": (Augmentation(),), "flips": FLIPS, "d4": D4}


def find_augmentations(symmetries: str = "none", scales: Sequence[float] = (1.0,)) -> tuple[Augmentation, ...]:
    """Return the augmentations: each symmetry (of none, flips or d4) at each scale."""
    return tuple(Augmentation(v.turns, v.mirrored, scale) for scale in scales for v in SYMMETRIES[symmetries])


def seen_sizes(
    sizes: Iterable[tuple[int, int]], augmentations: Sequence[Augmentation], multiple: int
) -> set[tuple[int, int]]:
    """Heights and widths in pixels at which windows of some sizes are seen."""
    scaled = [(_scaled(size, how.scale, multiple), how.turns % 2) for size in sizes for how in augmentations]
    return {(width, height) if is_turned else (height, width) for (height, width), is_turned in scaled}


class Augmented:
    """A network whose probabilities are averaged over several augmentations of each window."""

    def __init__(self, segmenter: Segmenter, augmentations: Sequence[Augmentation], multiple: int = 1):
        """Wrap a network; sides of scaled windows are rounded to multiples of `multiple` pixels."""
        self._segmenter, self._augmentations, self._multiple = segmenter, augmentations, multiple

    def __call__(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Logarithms of the mean probabilities (B, K, H, W) of band values (B, C, H, W)."""
        total = self._probabilities(image, context, self._augmentations[0])
        for how in self._augmentations[1:]:
            total += self._probabilities(image, context, how)
        return (total / len(self._augmentations)).log()

    def _probabilities(self, image: Tensor, context: Context, how: Augmentation) -> Tensor:
        size = image.shape[-2], image.shape[-1]
        scaled = image if how.scale == 1 else _resize(image, _scaled(size, how.scale, self._multiple))
        seen = how.apply(scaled)
        logits = how.undo(self._segmenter(seen, how.apply_context(context)).float())
        probabilities = logits.softmax(dim=1)
        return probabilities if how.scale == 1 else _resize(probabilities, size)


def _scaled(size: tuple[int, int], scale: float, multiple: int) -> tuple[int, int]:
    """Height and width of a scaled window; windows that are not scaled keep their sides, whatever they are."""
    if scale == 1:
        return size
    height, width = (max(1, round(side * scale / multiple)) * multiple for side in size)
    return height, width


def _resize(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample (B, C, h, w) linearly, averaging where it shrinks; edges stay where they are."""
    return interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
