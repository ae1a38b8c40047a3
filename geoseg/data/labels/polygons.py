"""Labels that are polygons, in any vector format and coordinate system, rasterized window by window.

In: a vector file, the grid of its image, the classes, and which value of a column stands for which class. Out: class
indexes (h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from geoseg.data.labels.placed_polygons import PlacedPolygons, boxes_near, parts_near, text_of
from geoseg.data.labels.rules import (
    OTHER,
    LabelRules,
    class_indexes,
    class_list,
    resolve_rules,
    sole_class,
)
from geoseg.data.labels.source import LabelSource
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
        """Read the polygons near an image."""
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
    """Polygons of a vector file; the class of a pixel is that of the last polygon of the file that holds its centre."""

    def __init__(self, source: LabelSource):
        path, grid, image = source.path, source.grid, source.image
        if grid.crs is None:
            raise LabelError(
                f"{image} has no coordinate system, so the polygons of {path} have no place on it: give it one "
                "(gdal_edit -a_srs EPSG:...)"
            )
        self._background = Background.of(source.rules, source.classes, grid)
        polygons = _read(source)
        indexes = _polygon_classes(polygons.values, source)
        try:
            parts, owners = parts_near(polygons, grid)
        except (ProjError, GEOSException) as error:
            raise LabelError(
                f"the polygons of {path} cannot be reprojected to the CRS of {image}: {one_line(error)}"
            ) from None
        self._placed, self._keys = PlacedPolygons(parts, indexes[owners], grid), feature_keys(polygons.shapes)[owners]
        is_bare = not len(self._placed.within(Window(0, 0, grid.height, grid.width)))
        if is_bare and source.rules.outside is None:
            raise _off_image(path, image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing stays open."""

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Rasterize class indexes (h, w) of a window."""
        burnt = self._background.read(window)
        self._placed.burn(window, burnt)
        return burnt

    def features(self) -> Features:
        """The polygons, in single parts, in the CRS of the image; none where what is between them is labelled, too."""
        if self._background.index != IGNORE:
            return NO_FEATURES
        return Features(self._placed.shapes, self._keys, self._placed.indexes)

    def unmarked_px(self) -> int:
        """Always 0: the value 255 means nothing special in polygons."""
        return 0


# ----------------------------------------------------------------------------------------------------------- reading


def _read(source: LabelSource) -> Polygons:
    """Read the polygons near an image, with their values in the class column.

    Raises:
        LabelError: if the file cannot be read, its column or layer is ambiguous, or no polygon is near.
    """
    path, rules, grid, image = source.path, source.rules, source.grid, source.image
    try:
        layer = _layer(path, rules)
        columns, crs = read_columns(path, layer)
        column = _class_column(path, columns, rules, sole_class(source.classes, rules))
        _check_transformable(path, crs, grid, image)
        boxes = boxes_near(grid, crs, layer_extent(path, layer))
        polygons = read_polygons(path, layer, column, boxes)
    except VectorError as error:
        raise LabelError(f"cannot read polygons {path}: {error}") from None
    if polygons.others:
        raise LabelError(f"{path} holds {' and '.join(polygons.others)}: labels are polygons: buffer points and lines")
    if not len(polygons.shapes) and rules.outside is None:
        raise _off_image(path, image)
    return polygons


def _check_transformable(path: Path, crs: Any, grid: PixelGrid, image: Path) -> None:
    """Make sure that polygons can be transformed to the CRS of their image."""
    if not crs:
        raise LabelError(f"{path} does not say in which coordinate system it is: assign one (ogr2ogr -a_srs)")
    if not can_transform(crs, grid.crs):
        raise LabelError(
            f"there is no transformation from the coordinate system of {path} ({crs_name(crs)}) to that of {image} "
            f"({crs_name(grid.crs)}): give both one that is known on Earth"
        )


def _layer(path: Path, rules: LabelRules) -> str:
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
        f"no polygon of {path} lies on {image}: check the coordinate systems of both, or leave the image out"
    )


# ----------------------------------------------------------------------------------------------------------- classes


def _polygon_classes(values: Sequence[Any], source: LabelSource) -> NDArray[np.uint8]:
    """Class index per polygon (N,)."""
    classes, rules = source.classes, source.rules
    resolved = resolve_rules(classes, rules) if rules.values else class_indexes(classes)
    table = {"": IGNORE} | {str(key): index for key, index in resolved.items()}
    keys = [text_of(value) for value in values]
    sole = sole_class(classes, rules)
    if sole is not None and rules.column is None and not _are_named(keys, resolved):
        return np.full(len(keys), sole, np.uint8)
    unknown = sorted({key for key in keys if key not in table}) if OTHER not in table else []
    if unknown:
        raise LabelError(
            f"{source.path}: class {', '.join(map(repr, unknown[:5]))} is unknown; the classes are "
            f"{class_list(classes)}: add it to `classes`, or say in data.label_values of a training config which class "
            "it is, or `ignore`"
        )
    return np.array([table.get(key, table.get(OTHER, IGNORE)) for key in keys], np.uint8)


def _are_named(keys: Sequence[str], resolved: Mapping[int | str, int]) -> bool:
    """Whether a value is the name of a class, or one that the rules name; numbers of features are neither."""
    names = {key for key in resolved if isinstance(key, str) and key != OTHER}
    return not names.isdisjoint(keys)
