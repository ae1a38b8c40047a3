"""Margin: how near the second most likely class comes to the first (Scheffer et al. 2001; Settles 2009, 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.inference.uncertainties.uncertainty import Pass
from geoseg.models.tta import Augmentation


class Margin:
    """1 - (p1 - p2), given the probabilities of the two most likely classes: 1 where both are equally likely."""

    def of_probabilities(self, log_probabilities: Tensor) -> Tensor:
        """Uncertainty (h, w) by the logarithms of probabilities (K, h, w)."""
        best = log_probabilities.topk(min(2, len(log_probabilities)), dim=0).values.exp()
        return best[1:].sum(dim=0) - best[0] + 1  # a sole class has no second

    def passes(self, augmentations: Sequence[Augmentation]) -> tuple[Pass, ...]:
        """A single pass, with the augmentations of the settings."""
        return (tuple(augmentations),)

    def of_passes(self, classes: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.floating]:
        """That of the only pass."""
        return np.asarray(values[0])


MARGIN = Margin()
