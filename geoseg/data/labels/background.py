"""What counts where no label is: nothing, or one class for all that lies between footprints.

In: label rules, and the grid of an image. Out: class indexes (h, w) of a window before labels are put on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels.class_sets import set_indexes
from geoseg.data.labels.rules import LabelRules, class_indexes, class_list
from geoseg.geo.aoi import Area
from geoseg.geo.drawn_area import OffRasterError, read_aoi
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec


@dataclass(frozen=True)
class Background:
    """A class index in an area of an image, IGNORE elsewhere."""

    index: int
    """The class index, or IGNORE."""
    area: Area
    """Where it counts."""

    @classmethod
    def of(cls, rules: LabelRules, classes: Sequence[ClassSpec], grid: PixelGrid) -> Background:
        """The background of an image by the rules: the class `outside`, in the whole image or in `extent`.

        Raises:
            SpecError: if `outside` is no class.
            LabelError: if `extent` cannot be read.
        """
        whole = Area(Window(0, 0, grid.height, grid.width))
        area = whole if rules.extent is None else _extent_on(rules.extent, grid)
        return cls(outside_index(rules, classes), area)

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Class indexes (h, w) of a window, free to be changed."""
        found = np.full((window.height, window.width), IGNORE, np.uint8)
        if self.index != IGNORE:
            found[self.area.mask(window)] = self.index
        return found


def outside_index(rules: LabelRules, classes: Sequence[ClassSpec]) -> int:
    """Index of the class, or of the set of classes, outside of all labels; IGNORE if there is none.

    Raises:
        SpecError: if it is none of the classes.
    """
    if rules.outside is None:
        return IGNORE
    if isinstance(rules.outside, tuple):
        return set_indexes(classes, rules.class_sets)[rules.outside]
    indexes = class_indexes(classes)
    by_text = {str(key): index for key, index in indexes.items()}
    if str(rules.outside) not in by_text:
        raise SpecError(f"outside = {rules.outside!r}: no such class: give one of {class_list(classes)}")
    return by_text[str(rules.outside)]


def _extent_on(extent: Path, grid: PixelGrid) -> Area:
    """The polygons of a file on an image; an empty area if none of them lies there."""
    if not grid.is_georeferenced:
        raise LabelError(f"extent {extent} has no place on images without coordinates: leave it out")
    try:
        shape = read_aoi(extent, grid)
    except OffRasterError:
        shape = shapely.Polygon()
    except SpecError as error:
        raise LabelError(f"{str(error).replace('aoi ', 'extent ', 1)}") from None
    shapely.prepare(shape)
    return Area(Window(0, 0, grid.height, grid.width), shape)
