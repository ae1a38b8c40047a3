"""Labels that are polygons, boxes, points and lines, in any vector format and coordinate system, rasterized window by
window.

In: a vector file, the grid of its image, the classes, and which value of a column stands for which class. Out: class
indexes (h, w).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray
from pyogrio.raw import write
from pyproj.exceptions import ProjError
from rasterio.features import shapes
from shapely.errors import GEOSException

from geoseg.core.errors import LabelError
from geoseg.core.files import one_line
from geoseg.data.labels.background import Background
from geoseg.data.labels.example import Example, Shown
from geoseg.data.labels.features import NO_FEATURES, Features, feature_keys
from geoseg.data.labels.marks import Marks, around, inner_parts, large_first
from geoseg.data.labels.placed_polygons import PlacedPolygons, boxes_near, parts_near, single_parts, text_of
from geoseg.data.labels.rules import (
    OTHER,
    LabelRules,
    class_indexes,
    class_list,
    left_out,
    resolve_rules,
    sole_class,
)
from geoseg.data.labels.source import LabelSource
from geoseg.geo.antimeridian import Shapes
from geoseg.geo.crs import can_transform, crs_name
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.geo.vector_files import (
    PARQUET_FILES,
    Polygons,
    VectorError,
    layer_extent,
    polygon_layers,
    read_columns,
    read_polygons,
)
from geoseg.spec import IGNORE

WRITTEN_COLUMNS = "class_id", "class", "area_m2"
"""Columns by which polygons that geoseg wrote are recognized; their class is what `class` names."""
DISPUTED_MARKS = "lie in points or lines of several classes, and are not labelled"
DISPUTED_BOXES = "lie in boxes of several classes, of which the smallest counts"
VECTOR_FILES = (
    ".gpkg", ".geojson", ".geojsonl", ".json", ".topojson", ".shp", ".shz", ".zip", ".fgb", ".kml", ".kmz", ".gml",
    ".gdb", ".sqlite", ".tab", ".mif", ".dxf", *PARQUET_FILES,
)  # fmt: skip
"""Extensions of vector files."""


class PolygonFiles:
    """The format of vector files."""

    is_vector = True

    def matches(self, source: LabelSource) -> bool:
        """Whether the file has the extension of a vector format."""
        return source.path.suffix.lower() in VECTOR_FILES

    def open(self, source: LabelSource) -> PolygonLabels:
        """Read the shapes near an image."""
        return PolygonLabels(source)

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write a GeoPackage with a polygon around each patch of a class, which the column `class` names."""
        found = shapes(shown.indexes, shown.indexes != IGNORE, transform=shown.grid.transform)
        patches = [(shapely.geometry.shape(patch), shown.classes[int(index)].name) for patch, index in found]
        geometry, names = (np.array(column, object) for column in zip(*patches, strict=True))
        write(
            folder / "labels.gpkg", shapely.to_wkb(geometry), [names], ["class"],
            geometry_type="Polygon", crs=None if shown.grid.crs is None else shown.grid.crs.to_wkt(),
        )  # fmt: skip
        return Example(folder / "labels.gpkg", LabelRules())


POLYGONS = PolygonFiles()


class PolygonLabels:
    """Shapes of a vector file.

    The class of a pixel is that of the last polygon of the file that holds its centre; of boxes, that of the smallest
    one in whose inner part it lies, and none at their rims. Points and lines, as wide as the rules say, lie above
    polygons; where those of several classes overlap, nothing is labelled.
    """

    def __init__(self, source: LabelSource):
        path, grid, image, rules = source.path, source.grid, source.image, source.rules
        if grid.crs is None:
            raise LabelError(
                f"{image} has no coordinate system, so the polygons of {path} have no place on it: give it one "
                "(gdal_edit -a_srs EPSG:...)"
            )
        self._background = Background.of(rules, source.classes, grid)
        polygons = _read(source)
        indexes = _polygon_classes([*polygons.values, *polygons.mark_values], source)
        outlines = _Drawn(polygons.shapes, indexes[: len(polygons.shapes)], feature_keys(polygons.shapes))
        marks = _Drawn(polygons.marks, indexes[len(polygons.shapes) :], feature_keys(polygons.marks)).singly()
        drawn = outlines if rules.box_rim is None else outlines.singly().as_boxes(rules.box_rim)
        try:
            self._areas, area_keys = drawn.placed(polygons.crs, grid)
            self._marked, mark_keys = marks.placed(polygons.crs, grid, rules.buffer_px)
        except (ProjError, GEOSException) as error:
            raise LabelError(
                f"the polygons of {path} cannot be reprojected to the CRS of {image}: {one_line(error)}"
            ) from None
        self._marks, self._keys = Marks.of(self._marked), np.concatenate([area_keys, mark_keys])
        self._boxes = Marks(()) if rules.box_rim is None else Marks.of(self._areas)
        whole = Window(0, 0, grid.height, grid.width)
        is_bare = not (len(self._areas.within(whole)) or len(self._marked.within(whole)))
        if is_bare and rules.outside is None:
            raise _off_image(path, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing stays open."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Rasterize class indexes (h, w) of a window."""
        burnt = self._background.read(window)
        self._areas.burn(window, burnt)
        self._marks.burn(window, burnt)
        return burnt

    def features(self) -> Features:
        """The shapes, in single parts, in the CRS of the image; none where what is between them is labelled, too."""
        if self._background.index != IGNORE:
            return NO_FEATURES
        shapes = np.concatenate([self._areas.shapes, self._marked.shapes])
        return Features(shapes, self._keys, np.concatenate([self._areas.indexes, self._marked.indexes]))

    def unmarked_px(self) -> int:
        """Always 0: the value 255 means nothing special in polygons."""
        return 0

    def disputed(self) -> Counter[str]:
        """Count the pixels where points and lines, or boxes, of several classes overlap."""
        return Counter({DISPUTED_MARKS: self._marks.count_several(), DISPUTED_BOXES: self._boxes.count_several()})


@dataclass(frozen=True)
class _Drawn:
    """Shapes as they stand in the file."""

    shapes: Shapes
    """The shapes (N,)."""
    indexes: NDArray[np.uint8]
    """Class index of each (N,), IGNORE where pixels are not labelled."""
    keys: NDArray[np.str_]
    """Key of the feature that each belongs to (N,)."""

    def singly(self) -> _Drawn:
        """Their single parts."""
        parts, owners = single_parts(self.shapes)
        return _Drawn(parts, self.indexes[owners], self.keys[owners])

    def as_boxes(self, rim: float) -> _Drawn:
        """Each box, not labelled, and above it its inner part; large ones below small ones."""
        order = large_first(self.shapes)
        boxes, indexes, keys = self.shapes[order], self.indexes[order], self.keys[order]
        shapes = np.stack([boxes, inner_parts(boxes, rim)], axis=1).ravel()
        return _Drawn(shapes, np.stack([np.full_like(indexes, IGNORE), indexes], axis=1).ravel(), np.repeat(keys, 2))

    def placed(self, crs: Any, grid: PixelGrid, radius_px: float = 0.0) -> tuple[PlacedPolygons, NDArray[np.str_]]:
        """The polygons on an image, or the pixels within a radius of points and lines, and their keys (M,)."""
        parts, owners = parts_near(self.shapes, crs, grid, radius_px)
        shapes = around(parts, grid, radius_px) if radius_px else parts
        return PlacedPolygons(shapes, self.indexes[owners], grid), self.keys[owners]


# ----------------------------------------------------------------------------------------------------------- reading


def _read(source: LabelSource) -> Polygons:
    """Read the shapes near an image, with their values in the class column.

    Raises:
        LabelError: if the file cannot be read, its column or layer is ambiguous, or no shape is near.
    """
    path, rules, grid, image = source.path, source.rules, source.grid, source.image
    try:
        layer = chosen_layer(path, rules)
        if rules.outside is None and _is_empty(path, layer):
            raise LabelError(f"{path} holds no polygon, point or line: draw some, or leave {image} out")
        columns, crs = read_columns(path, layer)
        column = _class_column(path, columns, rules, sole_class(source.classes, rules))
        _check_transformable(path, crs, grid, image)
        boxes = boxes_near(grid, crs, layer_extent(path, layer), rules.buffer_px)
        polygons = read_polygons(path, layer, column, boxes)
    except VectorError as error:
        raise LabelError(f"cannot read polygons {path}: {error}") from None
    if not (len(polygons.shapes) or len(polygons.marks)) and rules.outside is None:
        raise _off_image(path, image)
    return polygons


def _is_empty(path: Path, layer: str) -> bool:
    """Whether a layer has no feature with geometry; False for GeoParquet, whose extent is not known."""
    if path.suffix.lower() in PARQUET_FILES or layer_extent(path, layer) is not None:
        return False
    found = read_polygons(path, layer, None, None)  # coordinates that are not finite give no extent either
    return not (len(found.shapes) or len(found.marks))


def _check_transformable(path: Path, crs: Any, grid: PixelGrid, image: Path) -> None:
    """Make sure that polygons can be transformed to the CRS of their image."""
    if not crs:
        raise LabelError(f"{path} does not say in which coordinate system it is: assign one (ogr2ogr -a_srs)")
    if not can_transform(crs, grid.crs):
        raise LabelError(
            f"there is no transformation from the coordinate system of {path} ({crs_name(crs)}) to that of {image} "
            f"({crs_name(grid.crs)}): give both one that is known on Earth"
        )


def chosen_layer(path: Path, rules: LabelRules) -> str:
    """The layer that the rules name, or the only one.

    Raises:
        LabelError: if there is none of that name, or there are several.
        VectorError: if the file cannot be opened.
    """
    layers = polygon_layers(path)
    if rules.layer in layers or (rules.layer is None and len(layers) == 1):
        return rules.layer or layers[0]
    wanted = f"no layer {rules.layer} with polygons, " if rules.layer else ""
    raise LabelError(
        f"{path} has {wanted}the layers {', '.join(layers) or 'none'}: name one with data.label_layer, or --layer"
    )


def _class_column(path: Path, columns: Sequence[str], rules: LabelRules, sole: int | None) -> str | None:
    """The column of the polygons' classes; None if all polygons are of one class."""
    if rules.column in columns:
        return rules.column
    if rules.column is None and (rules.only_other or (sole is not None and len(columns) != 1)):
        return None
    if rules.column is None and len(columns) == 1:
        return columns[0]
    if rules.column is None and set(WRITTEN_COLUMNS) <= set(columns):
        return "class"
    wanted = f"no column {rules.column}, " if rules.column else ""
    raise LabelError(
        f"{path} has {wanted}the columns {', '.join(columns) or 'none'}: name the one with the class with "
        "data.label_column, or --column, or give all polygons one class (data.label_values: {other: CLASS})"
    )


def _off_image(path: Path, image: Path) -> LabelError:
    return LabelError(
        f"no polygon, point or line of {path} lies on {image}: check the coordinate systems of both, or leave the "
        "image out"
    )


# ----------------------------------------------------------------------------------------------------------- classes


def _polygon_classes(values: Sequence[Any], source: LabelSource) -> NDArray[np.uint8]:
    """Class index per shape (N,)."""
    classes, rules = source.classes, source.rules
    resolved = resolve_rules(classes, rules) if rules.values else class_indexes(classes)
    table = {"": IGNORE} | {str(key): index for key, index in resolved.items()}
    keys = [text_of(value) for value in values]
    sole = sole_class(classes, rules)
    if sole is not None and rules.column is None and not _are_named(keys, resolved):
        return np.full(len(keys), sole, np.uint8)
    unknown = sorted({key for key in keys if key not in table}) if OTHER not in table else []
    found = ", ".join(map(repr, unknown[:5]))
    if unknown and rules.values:
        raise LabelError(f"{source.path}: {left_out(rules, found)}")
    if unknown:
        raise LabelError(
            f"{source.path}: class {found} is unknown; the classes are "
            f"{class_list(classes)}: add it to `classes`, or say in data.label_values of a training config which class "
            "it is, or `ignore`"
        )
    return np.array([table.get(key, table.get(OTHER, IGNORE)) for key in keys], np.uint8)


def _are_named(keys: Sequence[str], resolved: Mapping[int | str, int]) -> bool:
    """Whether a value is the name of a class, or one that the rules name; numbers of features are neither."""
    names = {key for key in resolved if isinstance(key, str) and key != OTHER}
    return not names.isdisjoint(keys)
