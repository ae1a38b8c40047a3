"""Windows with values far from all that a network has learnt go a way on which NaN and infinity stay what they are.

oneDNN's ReLU makes 0 of NaN, and integers of 8 bits are clamped: what a network cannot compute would get classes.
"""

from __future__ import annotations

from torch import Tensor

from geoseg.models.segmentation import Normalize, SegmentationNetwork, Segmenter
from geoseg.models.surroundings import NO_CONTEXT, Context

_LARGEST = 1e4
"""Largest normalised value that is usual."""


class Careful:
    """A fast network, and a plain one for windows with unusual values; they give the same logits for all others."""

    def __init__(self, fast: SegmentationNetwork, plain: Segmenter):
        self._fast, self._plain = fast, plain

    def __call__(self, image: Tensor, context: Context = NO_CONTEXT) -> Tensor:
        """Forward band values (B, C, H, W)."""
        return (self._fast if _is_usual(image, self._fast.normalize) else self._plain)(image, context)


def _is_usual(image: Tensor, normalize: Normalize) -> bool:
    if not image.is_floating_point():
        return True
    low, high = image.aminmax()  # NaN if any value is
    ends = [(end - normalize.mean).abs() / normalize.std for end in (low, high)]
    return all(bool((end <= _LARGEST).all()) for end in ends)  # no comparison with NaN holds
