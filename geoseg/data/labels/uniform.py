"""Labels without a file: all pixels of an image have the same one. In: its class index. Out: that index everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Self

import numpy as np

from geoseg.data.labels.features import NO_FEATURES, Features
from geoseg.data.labels.opened import Indexes
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class UniformLabels:
    """The same label for all pixels of an image."""

    index: int
    """Index of a class or of a set of classes; IGNORE where nothing is labelled."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def read(self, window: Window) -> Indexes:
        """The index for every pixel (h, w) of a window."""
        return np.full((window.height, window.width), self.index, np.uint8)

    def features(self) -> Features:
        """No features."""
        return NO_FEATURES

    def unmarked_px(self) -> int:
        """No pixel has the value 255: there are no values."""
        return 0

    def disputed(self) -> Counter[str]:
        """No pixel: there is one label alone."""
        return Counter()


NO_LABELS = UniformLabels(IGNORE)
"""Labels without a labelled pixel."""
