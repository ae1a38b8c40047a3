"""Disagreement: whether the class of a pixel depends on how its window is turned and mirrored.

A scene looks as natural from any side, so a model that has understood it answers alike. Those that see it from
different sides are a committee (Seung, Opper and Sompolinsky 1992), whose disagreement is the variation ratio (Freeman
1965): the share of the votes that the most frequent class does not get.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geoseg.inference.uncertainties.uncertainty import Pass, PixelUncertainty
from geoseg.models.tta import FLIPS, Augmentation


class Disagreement:
    """Share of the passes that find another class than most, over what it can be at most: 1 where no two agree."""

    of_probabilities: PixelUncertainty | None = None

    def passes(self, augmentations: Sequence[Augmentation]) -> tuple[Pass, ...]:
        """A pass for each augmentation of the settings, or for each mirror image if they ask for none."""
        return tuple((one,) for one in (augmentations if len(augmentations) > 1 else FLIPS))

    def of_passes(self, classes: NDArray[np.uint8], values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Variation ratio (h, w) of the classes of the passes (P, h, w)."""
        most = np.max([(classes == one).sum(axis=0) for one in classes], axis=0)
        return np.asarray((len(classes) - most) / (len(classes) - 1))


DISAGREEMENT = Disagreement()
