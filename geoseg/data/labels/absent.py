"""Labels of an image that has none. In: nothing. Out: class indexes that are IGNORE everywhere."""

from __future__ import annotations

from collections import Counter
from typing import Self

import numpy as np

from geoseg.data.labels.features import NO_FEATURES, Features
from geoseg.data.labels.opened import Indexes
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE


class NoLabels:
    """Labels without a labelled pixel."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None: ...

    def read(self, window: Window) -> Indexes:
        """IGNORE for every pixel (h, w) of a window."""
        return np.full((window.height, window.width), IGNORE, np.uint8)

    def features(self) -> Features:
        """No features."""
        return NO_FEATURES

    def unmarked_px(self) -> int:
        """No pixel has the value 255: there are no values."""
        return 0

    def disputed(self) -> Counter[str]:
        """No pixel: there are no labels."""
        return Counter()
