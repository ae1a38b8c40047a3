"""Mean field inference in a dense CRF with truncated kernels. Pure functions on arrays.

In: logits and band values of a block with a halo. Out: the block's logits.

The model is that of Krähenbühl and Koltun (2011, equations 1 to 3): a Potts model of all pairs of pixels, whose weight
is a Gaussian in position and band values (appearance) plus one in position (smoothness). As in the convolutional CRF of
Teichmann and Cipolla (2018) a pixel sees a square window only, so that what it becomes depends on no pixel further away
than iterations x radius: with such a halo a block's logits are those of the whole raster, to the last bit, because each
pixel's sums run in one order.

Each kernel is divided by the sum of its Gaussian over the window, a constant: its weight is then by how much the logit
of a class rises in a pixel whose window is of this class and of its own band values, whatever the radius.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.spec.crf import CrfSpec

Floats = NDArray[np.float32]
_ROWS = 8
"""Rows for which kernels are made at once, within the cache."""


@dataclass(frozen=True)
class Kernels:
    """The weights of pairs of pixels by their offset, of each pair once: the offsets of half of the window."""

    down: NDArray[np.int64]
    """Rows from the first pixel to the second (N,), 0 or more."""
    right: NDArray[np.int64]
    """Columns from the first pixel to the second (N,)."""
    appearance: Floats
    """Weight of a pair with the same band values (N,)."""
    smoothness: Floats
    """Weight of any pair (N,)."""

    @classmethod
    def of(cls, spec: CrfSpec) -> Kernels:
        """The kernels of some settings."""
        reach = np.arange(-spec.crf_radius, spec.crf_radius + 1)
        down, right = (grid.ravel() for grid in np.meshgrid(reach, reach, indexing="ij"))
        is_half = (down > 0) | ((down == 0) & (right > 0))
        down, right = down[is_half], right[is_half]
        appearance = spec.crf_appearance * _gaussian(down, right, spec.crf_appearance_px)
        smoothness = spec.crf_smoothness * _gaussian(down, right, spec.crf_smoothness_px)
        return cls(down, right, appearance.astype(np.float32), smoothness.astype(np.float32))

    def between(self, image: Floats) -> Floats:
        """The weight of each pair of pixels (h, N, w) by its first pixel.

        Args:
            image: (C, h, w), such that the appearance falls with exp(-d²) of the distance d.
        """
        from geoseg.inference.mean_field_loops import add_kernels, fill_distances  # imports the compiler

        _, height, width = image.shape
        pairs = np.zeros((height, len(self.down), width), np.float32)
        for row in range(0, height, _ROWS):
            some = pairs[row : row + _ROWS]
            fill_distances(image, row, self.down, self.right, some)
            np.exp(some, out=some)
            add_kernels(some, self.appearance, self.smoothness)
        return pairs


def _gaussian(down: NDArray[np.int64], right: NDArray[np.int64], std: float) -> NDArray[np.float64]:
    """Gaussian of offsets, one half of a window's; its sum over the window is 1."""
    distance: NDArray[np.float64] = (down**2 + right**2).astype(np.float64)
    values = np.exp((distance.min() - distance) / (2 * std**2))
    return np.asarray(values / (2 * values.sum()))


def mean_field(logits: Floats, image: Floats, valid: NDArray[np.bool_], spec: CrfSpec, temperature: float) -> Floats:
    """Logits (K, h, w) of a block after mean field inference.

    Args:
        logits: (K, h + 2 halo, w + 2 halo), finite or minus infinity where pixels hold data.
        image: band values (C, ...) of the same pixels, in units of the appearance kernel's standard deviation.
        valid: which of these pixels hold data (...); the others send no messages.
        spec: settings.
        temperature: by which logits are divided before they become probabilities.
    """
    reach, halo = spec.crf_radius, spec.crf_halo
    if not halo:
        return logits
    from geoseg.inference.mean_field_loops import sum_messages  # imports the compiler

    kernels, bands = Kernels.of(spec), len(image)
    near = np.where(valid, image, 0).astype(np.float32) * np.float32((2 * bands) ** -0.5)
    pairs = kernels.between(np.nan_to_num(near))
    own = np.where(valid, logits, 0).astype(np.float32)
    sent = _probabilities(own, temperature) * valid
    messages = np.zeros_like(own)
    for margin in range(reach, halo + 1, reach):
        sum_messages(pairs, kernels.down, kernels.right, sent, margin, messages)
        inside = slice(None), slice(margin, -margin), slice(margin, -margin)
        found: Floats = own[inside] + np.float32(temperature) * messages[inside]
        if margin < halo:
            sent[inside] = _probabilities(found, temperature) * valid[inside[1:]]
    return found


def _probabilities(logits: Floats, temperature: float) -> Floats:
    """Softmax of logits (K, h, w)."""
    powers: Floats = logits - logits.max(axis=0)
    if temperature != 1:
        powers /= np.float32(temperature)
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=0)
    return powers
