"""Examples of label files, which the formats write for tests and first trials. In: class indexes. Out: a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray

from geoseg.data.labels.rules import LabelRules
from geoseg.geo.georef import PixelGrid
from geoseg.spec import ClassSpec


@dataclass(frozen=True)
class Shown:
    """The content of an example."""

    indexes: NDArray[np.uint8]
    """Class indexes (h, w), IGNORE where nothing is labelled."""
    grid: PixelGrid
    """The grid of their image."""
    classes: tuple[ClassSpec, ...]
    """The classes, in the order of the indexes."""

    def mapped(self, values: NDArray[np.uint8], unlabelled: int) -> NDArray[np.uint8]:
        """The value of each pixel's class (h, w, ...), given those of the classes (K, ...) and of unlabelled pixels."""
        table = np.full((256, *values.shape[1:]), unlabelled, np.uint8)
        table[: len(values)] = values
        found: NDArray[np.uint8] = table[self.indexes]
        return found

    @property
    def colors(self) -> NDArray[np.uint8]:
        """Red, green and blue of the classes (K, 3)."""
        return np.array([list(bytes.fromhex(c.color.removeprefix("#"))) for c in self.classes], np.uint8)

    @property
    def color_rules(self) -> LabelRules:
        """Rules by which these colours stand for the classes, and black for unlabelled pixels."""
        return LabelRules((*((c.color.lower(), c.name) for c in self.classes), ("#000000", "ignore")))


class Example(NamedTuple):
    """An example of a label file."""

    path: Path
    """The file."""
    rules: LabelRules
    """How it is to be read."""
    is_georeferenced: bool = True
    """Whether the file says where its image lies; if not, opening it on an image of another size is an error."""


def write_example(
    path: Path, values: NDArray[np.uint8], grid: PixelGrid, palette: Mapping[int, tuple[int, ...]] | None = None
) -> Path:
    """Write a GeoTIFF of values (C, h, w), with the colours of a palette if there is one."""
    profile: dict[str, Any] = {"driver": "GTiff", "dtype": "uint8", "crs": grid.crs, "transform": grid.transform}
    size = dict(zip(("count", "height", "width"), values.shape, strict=True))
    with rasterio.open(path, "w", **profile, **size) as dataset:
        dataset.write(values)
        if palette is not None:
            dataset.write_colormap(1, palette)
    return path
