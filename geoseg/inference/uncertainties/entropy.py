"""Entropy: how evenly the probability of a pixel is spread over all classes (Shannon 1948; Settles 2009, 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.inference.uncertainties.uncertainty import Pass
from geoseg.models.tta import Augmentation


class Entropy:
    """-sum of p log p over the K classes, over log K: 1 where all classes are equally likely."""

    def of_probabilities(self, log_probabilities: Tensor) -> Tensor:
        """Entropy (h, w) of the logarithms of probabilities (K, h, w)."""
        terms = log_probabilities.exp() * log_probabilities.clamp(min=-1e4)  # 0 log 0 is 0
        return -terms.sum(dim=0) / math.log(max(2, len(log_probabilities)))

    def passes(self, augmentations: Sequence[Augmentation]) -> tuple[Pass, ...]:
        """A single pass, with the augmentations of the settings."""
        return (tuple(augmentations),)

    def of_passes(self, classes: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.floating]:
        """That of the only pass."""
        return np.asarray(values[0])


ENTROPY = Entropy()
