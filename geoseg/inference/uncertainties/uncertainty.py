"""The contract of a measure of uncertainty.

A scene is classified in one or several passes, which show its windows to the network in different ways. In: what each
pass finds of a pixel. Out: the uncertainty of the pixel, 0 (sure) to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from geoseg.models.tta import Augmentation

Pass = tuple[Augmentation, ...]
"""The augmentations of one pass, over which probabilities are averaged."""
PixelUncertainty = Callable[[Tensor], Tensor]
"""Gives the uncertainty (h, w), 0 to 1, given the logarithms of probabilities (K, h, w), on their device."""


class Uncertainty(Protocol):
    """A measure of uncertainty."""

    of_probabilities: PixelUncertainty | None
    """Uncertainty by the probabilities of one pass; None if the classes of several passes are what counts."""

    def passes(self, augmentations: Sequence[Augmentation]) -> tuple[Pass, ...]:
        """The passes over a scene, the one whose classes are shown to people first.

        Args:
            augmentations: those of the settings; the unchanged window alone if they ask for none.
        """
        ...

    def of_passes(self, classes: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Uncertainty (h, w), 0 to 1, of pixels.

        Args:
            classes: the class that each pass finds (P, h, w), as any whole numbers.
            values: what `of_probabilities` gives in each pass (P, h, w); P is 0 where that is None.
        """
        ...
