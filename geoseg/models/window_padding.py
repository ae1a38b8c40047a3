"""Windows of any size for networks that take images of some sizes alone: padded for them, their outputs cropped.

In: an image, and the sides that a network takes. Out: an image with such sides, padded at the bottom and right. Images
that have them are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from geoseg.models.padding import replicated
from geoseg.spec import IGNORE

LEAST_PX = 32
"""Least side of the images that any encoder is given, in pixels: of smaller ones, some make nothing."""


@dataclass(frozen=True)
class Sides:
    """Heights and widths of the images that a network takes, in pixels; by default any."""

    multiple: int = 1
    """They are multiples of this."""
    least: int = 1
    """None is below this."""

    def fitting(self, size: Sequence[int]) -> tuple[int, int]:
        """The smallest height and width in pixels that are not below those of an image."""
        height, width = (-(-max(side, self.least) // self.multiple) * self.multiple for side in size)
        return height, width

    def padded(self, image: Tensor) -> Tensor:
        """An image (B, C, H, W), padded by replication; itself if its sides fit."""
        down, across = self._missing(image)
        return replicated(image, (0, across), (0, down)) if down or across else image

    def padded_labels(self, labels: Tensor) -> Tensor:
        """Class indexes (B, H, W), padded with IGNORE; themselves if their sides fit."""
        down, across = self._missing(labels)
        return functional.pad(labels, (0, across, 0, down), value=IGNORE) if down or across else labels

    def _missing(self, image: Tensor) -> tuple[int, int]:
        """Pixels that a height and a width lack."""
        size = image.shape[-2:]
        height, width = self.fitting(size)
        return height - size[0], width - size[1]


def cropped(maps: Tensor, padded: torch.Size, size: torch.Size) -> Tensor:
    """The part of maps (B, C, h, w) of an image padded to (..., H', W') that shows the image (..., H, W) itself."""
    rows, cols = (-(-maps.shape[i] * size[i] // padded[i]) for i in (-2, -1))
    return maps[:, :, :rows, :cols]
