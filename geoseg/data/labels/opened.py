"""The protocol of open labels: class indexes of one image, window by window."""

from __future__ import annotations

from collections import Counter
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from geoseg.data.labels.features import Features
from geoseg.geo.grid import Window

Indexes = NDArray[np.uint8]
"""Class indexes (h, w), IGNORE where nothing is labelled."""


class Labels(Protocol):
    """Open labels of one image, on its grid."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def read(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window inside the image, free to be changed; IGNORE where nothing is labelled.

        Raises:
            LabelError: if the file is damaged, or holds a value that stands for no class.
        """
        ...

    def features(self) -> Features:
        """The features of a vector file, one by one, for a split by polygon; none of a raster."""
        ...

    def unmarked_px(self) -> int:
        """Count the pixels of value 255 that are taken as not labelled though neither the file nor the rules say so.

        Raises:
            LabelError: if the file is damaged.
        """
        ...

    def disputed(self) -> Counter[str]:
        """Pixels in which labels of several classes lie though none is meant to be above the other, by a clause on what
        counts there: "lie in ..., and are not labelled"."""
        ...
