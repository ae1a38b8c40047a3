"""Corrections of labels: polygons laid over the labels of images, which give their pixels another class, or none.

In: vector files, and the label file of an image. Out: the labels with the class that the column `correction` of the
polygons names; where it is empty, or there is no such column, pixels are not labelled.

Polygons in a coordinate system count wherever they lie. Those of a file without one are in the pixels of images without
one, each of the image that its column `image` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from shapely.errors import GEOSException

from geoseg.core.errors import LabelError
from geoseg.core.files import one_line
from geoseg.core.naming import is_called
from geoseg.core.redaction import public_form
from geoseg.data.labels.changed import ChangedLabels
from geoseg.data.labels.opened import Labels
from geoseg.data.labels.placed_polygons import PlacedPolygons, boxes_near, parts_near, text_of
from geoseg.data.labels.rules import class_indexes, class_list
from geoseg.data.labels.source import LabelSource
from geoseg.geo.crs import can_transform, crs_name
from geoseg.geo.grid import Window
from geoseg.geo.layer_paths import LAYER, split_layer
from geoseg.geo.vector_files import (
    Polygons,
    VectorError,
    layer_extent,
    polygon_layers,
    read_columns,
    read_polygons,
)
from geoseg.spec import IGNORE, ClassSpec

CORRECTION, IMAGE = "correction", "image"
"""Columns of the polygons: the class of their pixels, and the image in whose pixels they are given; in any case."""


STRIP_ROWS = 512
"""Rows that are read at once where pixels are counted."""


class CorrectedLabels(ChangedLabels):
    """Labels under corrections."""

    def __init__(self, labels: Labels, corrections: Sequence[PlacedPolygons]):
        super().__init__(labels)
        self._corrections = corrections

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Read class indexes (h, w) of a window."""
        found = self._labels.read(window)
        for polygons in self._corrections:
            polygons.burn(window, found)
        return found


def corrections_on(source: LabelSource) -> list[PlacedPolygons]:
    """The polygons near an image of each file that corrects its labels; files without any are left out.

    Raises:
        LabelError: if a file cannot be read, has no coordinate system though the image has one, or names an unknown
            class.
    """
    found = (_placed(path, source) for path in source.rules.corrections)
    return [polygons for polygons in found if len(polygons.shapes)]


def pixel_corrections(source: LabelSource) -> set[str]:
    """Names by which corrections in pixels call an image without coordinates; none of an image with them.

    Raises:
        LabelError: if a file cannot be read.
    """
    if source.grid.crs is not None:
        return set()
    layers = [layer for layer in map(_Layer.of, source.rules.corrections) if not layer.crs and IMAGE in layer.columns]
    names = {text_of(value) for layer in layers for value in layer.read(IMAGE, source).values}
    return {name for name in names if is_called(source.image, name)}


@dataclass(frozen=True)
class CorrectedPixels:
    """Number of pixels whose label is another one under corrections."""

    ignored: int = 0
    """Labelled pixels that count as not labelled."""
    changed: int = 0
    """Pixels that get another class, or that had none."""

    def __add__(self, other: CorrectedPixels) -> CorrectedPixels:
        return CorrectedPixels(self.ignored + other.ignored, self.changed + other.changed)

    def notice(self, files: Sequence[Path]) -> str:
        """A sentence on what files have corrected."""
        names = ", ".join(public_form(path) for path in files)
        if not (self.ignored or self.changed):
            return f"{names}: no label is changed by these corrections: do they lie on these images?"
        return f"{names}: {self.ignored:,} px count as not labelled, {self.changed:,} px get another class"


def count_corrected(source: LabelSource, labels: Labels) -> CorrectedPixels:
    """Count the pixels of an image whose label is changed by the corrections of its rules.

    Args:
        source: the label file.
        labels: the labels without corrections.
    """
    total, grid = CorrectedPixels(), source.grid
    corrections = corrections_on(source)
    for strip in Window(0, 0, grid.height, grid.width).bands(STRIP_ROWS):
        if not any(len(polygons.within(strip)) for polygons in corrections):
            continue
        before = labels.read(strip)
        after = before.copy()
        for polygons in corrections:
            polygons.burn(strip, after)
        is_other, is_given = after != before, after != IGNORE
        total += CorrectedPixels(int((is_other & ~is_given).sum()), int((is_other & is_given).sum()))
    return total


@dataclass(frozen=True)
class _Layer:
    """A layer of a vector file with corrections."""

    path: Path
    """The file."""
    name: str
    """The layer."""
    columns: dict[str, str]
    """Names of its columns by these in lower case."""
    crs: Any
    """Its coordinate system, as text that pyproj reads, or None."""

    @classmethod
    def of(cls, given: Path) -> Self:
        """The layer that a path names, or the only one of a file."""
        path, name = split_layer(given)
        layers = polygon_layers(path)
        if name is not None and name not in layers:
            raise VectorError(f"there is no layer {name}, only {', '.join(layers) or 'none with geometry'}")
        if not layers or (name is None and len(layers) > 1):
            one = f": name one, e.g. '{path}{LAYER}{layers[0]}'" if layers else ""
            raise VectorError(f"it has the layers {', '.join(layers) or 'none'}{one}")
        columns, crs = read_columns(path, name or layers[0])
        return cls(path, name or layers[0], {column.lower(): column for column in columns}, crs)

    def read(self, column: str, source: LabelSource) -> Polygons:
        """Read the polygons near an image, with their values in a column, None where there is no such column."""
        boxes = boxes_near(source.grid, self.crs, layer_extent(self.path, self.name)) if self.crs else None
        return read_polygons(self.path, self.name, self.columns.get(column), boxes)


def _placed(given: Path, source: LabelSource) -> PlacedPolygons:
    grid = source.grid
    try:
        layer = _Layer.of(given)
        if bool(layer.crs) != (grid.crs is not None):
            return _elsewhere(layer, source)
        polygons = layer.read(CORRECTION, source)
        if polygons.others:
            raise VectorError(f"it holds {' and '.join(polygons.others)}: corrections are polygons")
        if not layer.crs:
            return _in_pixels(layer, polygons, source)
    except VectorError as error:
        raise LabelError(f"cannot read corrections {given}: {error}") from None
    if not can_transform(layer.crs, grid.crs):
        raise LabelError(
            f"there is no transformation from the coordinate system of {given} ({crs_name(layer.crs)}) to that of "
            f"{source.image} ({crs_name(grid.crs)}): give both one that is known on Earth"
        )
    try:
        parts, owners = parts_near(polygons.shapes, polygons.crs, grid)
    except (ProjError, GEOSException) as error:
        raise LabelError(
            f"the polygons of {given} cannot be reprojected to the CRS of {source.image}: {one_line(error)}"
        ) from None
    return PlacedPolygons(parts, _indexes(polygons.values, source.classes, given)[owners], grid)


def _elsewhere(layer: _Layer, source: LabelSource) -> PlacedPolygons:
    """No polygon: those of a file with a coordinate system have no place on an image without one.

    Raises:
        LabelError: if the image has one and the file has none.
    """
    if not layer.crs:
        raise LabelError(
            f"corrections {layer.path} do not say in which coordinate system they are: assign one (ogr2ogr -a_srs)"
        )
    return PlacedPolygons(np.zeros(0, object), np.zeros(0, np.uint8), source.grid)


def _in_pixels(layer: _Layer, polygons: Polygons, source: LabelSource) -> PlacedPolygons:
    """The polygons of a file without coordinate system that are on an image without one.

    Raises:
        LabelError: if the file does not say on which image each polygon is.
    """
    if IMAGE not in layer.columns:
        raise LabelError(
            f"corrections {layer.path} have no coordinate system and no column {IMAGE}: name in it the image file of "
            "each polygon"
        )
    here = np.array([is_called(source.image, text_of(value)) for value in layer.read(IMAGE, source).values], bool)
    parts, owners = parts_near(polygons.shapes, polygons.crs, source.grid)
    kept = here[owners]
    indexes = _indexes(polygons.values, source.classes, layer.path)[owners]
    return PlacedPolygons(parts[kept], indexes[kept], source.grid)


def _indexes(values: Sequence[Any], classes: Sequence[ClassSpec], path: Path) -> NDArray[np.uint8]:
    """Class index of each polygon (N,): IGNORE where no class is given.

    Raises:
        LabelError: if a class is unknown.
    """
    table = {"": IGNORE, "ignore": IGNORE} | {str(key): index for key, index in class_indexes(classes).items()}
    texts = [text_of(value).strip() for value in values]
    unknown = sorted({text for text in texts if text not in table})
    if unknown:
        raise LabelError(
            f"{path}: {CORRECTION} {', '.join(map(repr, unknown[:5]))} is no class: give one of "
            f"{class_list(classes)}, or leave it empty where pixels are to count as not labelled"
        )
    return np.array([table[text] for text in texts], np.uint8)
