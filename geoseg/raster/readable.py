"""The protocol of everything that is read window by window: a file, a resampled scene, a mosaic."""

from __future__ import annotations

from typing import Protocol

from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values


class Readable(Protocol):
    """A raster (C, H, W) that is read window by window."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: values (C, h, w), free to be changed, and which pixels hold data (h, w)."""
        ...
