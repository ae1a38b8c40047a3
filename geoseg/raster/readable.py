"""What windows of pixels are read from, be it a file, a resampled scene, or a mosaic."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window

Values = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Readable(Protocol):
    """What windows are read from."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: values (C, h, w), to be changed at will, and which pixels hold data (h, w)."""
        ...
