"""Labelled rasters reduced to one side of a split.

In: a labelled raster and windows of it. Out: a labelled raster without labels elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.data.areas import Area
from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class PartlyLabelled:
    """A labelled raster with labels in a part of its pixels, and IGNORE elsewhere."""

    raster: LabelledRaster
    """The whole raster."""
    open: Area
    """Where labels are kept."""
    closed: Area
    """Where they are not, even inside `open`, as in a guard band."""
    hides_closed: bool = False
    """Whether pixels in `closed` hold no data, either, so that no window shows them."""
    classes: int = IGNORE
    """Labels from this index on, which are sets of classes, are not kept."""

    @property
    def name(self) -> str:
        """The image's file name."""
        return self.raster.name

    @property
    def grid(self) -> PixelGrid:
        """Its pixel grid."""
        return self.raster.grid

    @property
    def height(self) -> int:
        """Rows."""
        return self.raster.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.raster.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image, also outside `open`: band values (C, h, w), and which pixels hold data (h, w)."""
        values, valid = self.raster.read(window)
        return values, valid & ~self.closed.mask(window) if self.hides_closed else valid

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window; IGNORE where labels are not kept."""
        labels = self.raster.read_labels(window)
        labels[~self.shown(window) | (labels >= self.classes)] = IGNORE
        return labels

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data outside `closed`, and, unless that is hidden, inside `open`.

        Where `closed` is hidden, `open` may be polygons of labels; what lies between them is on no other side.
        """
        held = self.raster.own(window) & ~self.closed.mask(window)
        return held if self.hides_closed else held & self.open.mask(window)

    def open_part(self) -> OpenPart:
        """The same raster without data outside `open`, or, where `closed` is hidden, in `closed` alone."""
        return OpenPart(self)

    def shown(self, window: Window) -> Mask:
        """Where labels of a window are kept (h, w)."""
        return self.open.mask(window) & ~self.closed.mask(window)


class OpenPart:
    """A partly labelled raster without data outside its open windows."""

    def __init__(self, part: PartlyLabelled):
        self._part = part
        self.name, self.grid, self.height, self.width = part.name, part.grid, part.height, part.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: band values (C, h, w), and which pixels hold data and are open (h, w)."""
        values, valid = self._part.read(window)
        return values, valid if self._part.hides_closed else valid & self._part.open.mask(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""
        return self._part.read_labels(window)

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data and are on its side of the split."""
        return self._part.own(window)

    def open_part(self) -> OpenPart:
        """The raster itself: it has no other part."""
        return self
