"""Labels in places: a GeoPackage of `geoseg suggest`, whose guesses are corrected by hand.

Its layer `places` holds windows of scenes, its layer `labels` the polygons in them, whose column `class` names their
class. A place whose column `done` is true is labelled: its pixels get the class of the last polygon that holds their
centre. All other pixels are not labelled, whatever a model has guessed of them; neither is what lies outside of places.

In: such a file, and the grid of an image. Out: class indexes (h, w), of the places whose column `scene` names the
image, or its map, or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
import shapely.geometry
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.features import shapes
from shapely.errors import GEOSException

from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.core.files import one_line
from geoseg.core.naming import is_called, shown_name
from geoseg.core.wording import number_of
from geoseg.data.labels.changed import ChangedLabels
from geoseg.data.labels.example import Example, Shown
from geoseg.data.labels.features import NO_FEATURES, Features, feature_keys
from geoseg.data.labels.opened import Labels
from geoseg.data.labels.placed_polygons import PlacedPolygons, boxes_near, parts_near, text_of
from geoseg.data.labels.polygons import PolygonLabels
from geoseg.data.labels.rules import LabelRules
from geoseg.data.labels.source import LabelSource
from geoseg.data.labels.uniform import NO_LABELS
from geoseg.geo.crs import can_transform, crs_name
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.geo.layer_metadata import layer_metadata
from geoseg.geo.vector_files import (
    VectorError,
    layer_extent,
    polygon_layers,
    read_columns,
    read_polygons,
)
from geoseg.raster.legend import CLASSES_TAG
from geoseg.spec import IGNORE, ClassSpec, parse_json

PLACES, LABELS = "places", "labels"
"""The layers."""
DONE, SCENE, CLASS = "done", "scene", "class"
"""Columns: of places, whether their labels are corrected, and the scene; of labels, the class."""
END = ".gpkg"
"""Extension of such files."""
MAP_END = "_landcover"
"""What the name of a predicted map has behind that of its scene."""


def is_places_file(path: Path) -> bool:
    """Whether a file is a GeoPackage with these layers and columns."""
    if path.suffix.lower() != END:
        return False
    with suppress(VectorError):
        if {PLACES, LABELS} <= {*polygon_layers(path)}:
            return {DONE, SCENE} <= {*read_columns(path, PLACES)[0]} and CLASS in read_columns(path, LABELS)[0]
    return False


@dataclass(frozen=True)
class DonePlaces:
    """The places of one image that are labelled."""

    placed: PlacedPolygons
    """Their polygons (M,), in single parts, in the image's coordinate system."""
    keys: NDArray[np.str_]
    """Key of the place that each part belongs to (M,)."""


def done_places(path: Path, grid: PixelGrid, image: Path) -> DonePlaces:
    """Read the places of an image that are labelled; none if none of its places is.

    Raises:
        VectorError: if the file cannot be read.
        LabelError: if no place of the file is done, or none lies on the image.
        ProjError, GEOSException: if they cannot be reprojected.
    """
    _, crs = read_columns(path, PLACES)
    if not crs or not can_transform(crs, grid.crs):
        raise VectorError(f"its coordinate system ({crs_name(crs)}) has no place on the scene ({crs_name(grid.crs)})")
    boxes = boxes_near(grid, crs, layer_extent(path, PLACES))
    near, scenes = (read_polygons(path, PLACES, column, boxes) for column in (DONE, SCENE))
    names = [text_of(name) for name in scenes.values]
    own = [not name or _is_of(image, name) for name in names]
    if not any(own):
        found = ", ".join(sorted({*names})[:5])
        which = f": those near it are of {found}: correct their column {SCENE} if it is the same image" if found else ""
        raise LabelError(f"no place of {path} lies on {image}{which}")
    kept = np.array([bool(done) and mine for done, mine in zip(near.values, own, strict=True)], bool)
    if not kept.any() and not _any_done(path):
        raise nothing_done(path)
    done = near.shapes[kept]
    parts, owners = parts_near(done, near.crs, grid)
    return DonePlaces(PlacedPolygons(parts, np.zeros(len(parts), np.uint8), grid), feature_keys(done)[owners])


def _is_of(image: Path, name: str) -> bool:
    """Whether an image is the scene of a name, or one of both is the map that was predicted of the other."""
    stems = (Path(text).stem.removesuffix(MAP_END) for text in (shown_name(image), name))
    return is_called(image, name) or len({*stems}) == 1


def _any_done(path: Path) -> bool:
    return any(map(bool, read_polygons(path, PLACES, DONE, None).values))


def nothing_done(path: Path) -> LabelError:
    """The error that no place is labelled yet."""
    return LabelError(
        f"no place of {path} is done: correct the labels in some, set their column {DONE} to true, and save"
    )


def known_classes(path: Path) -> tuple[ClassSpec, ...]:
    """The classes that a file names in the metadata of a layer; none where another program has dropped them.

    Raises:
        VectorError: if they are damaged.
    """
    for layer in (PLACES, LABELS):
        text = layer_metadata(path, layer).get(CLASSES_TAG)
        if text:
            try:
                return tuple(ClassSpec.model_validate(one) for one in parse_json(text, CLASSES_TAG))
            except (ValueError, SpecError) as error:
                raise VectorError(f"the classes in its metadata are damaged: {one_line(error)}") from None
    return ()


def done_labels(path: Path) -> list[str]:
    """Class of each polygon of a file that lies in a place that is done, at least in part.

    Raises:
        VectorError: if the file cannot be read.
    """
    places, labels = read_polygons(path, PLACES, DONE, None), read_polygons(path, LABELS, CLASS, None)
    done = places.shapes[np.array([bool(value) for value in places.values], bool)]
    inside = shapely.union_all(done).buffer(0)
    shapely.prepare(inside)
    overlaps = shapely.intersects(labels.shapes, inside) & ~shapely.touches(labels.shapes, inside)
    texts = [text_of(value) for value in labels.values]
    return [text for text, overlaps_it in zip(texts, overlaps, strict=True) if overlaps_it and text]


def count_done(path: Path) -> tuple[int, int]:
    """Number of places of a file that are done, and of all.

    Raises:
        VectorError: if the file cannot be read.
    """
    values = read_polygons(path, PLACES, DONE, None).values
    return sum(map(bool, values)), len(values)


def check_nothing_done(path: Path) -> None:
    """Refuse to replace a file in which a place is done: it holds the work of a person.

    Raises:
        OutputError: if there is such a place.
    """
    if path.exists() and is_places_file(path):
        with suppress(VectorError):
            if done := count_done(path)[0]:
                raise OutputError(
                    f"{path} holds {number_of(done, 'place')} that somebody has labelled: choose another --output, or "
                    "move it away"
                )


class PlacesFiles:
    """The format of files of places."""

    is_vector = True

    def matches(self, source: LabelSource) -> bool:
        """Whether the file has the layers and columns of places, and no other layer is asked for."""
        return source.rules.layer in (None, LABELS) and is_places_file(source.path)

    def open(self, source: LabelSource) -> Labels:
        """Read the places of an image that are done, and the labels in them."""
        try:
            done = done_places(source.path, source.grid, source.image)
        except VectorError as error:
            raise LabelError(f"cannot read places {source.path}: {error}") from None
        except (ProjError, GEOSException) as error:
            raise LabelError(
                f"the places of {source.path} cannot be reprojected to the CRS of {source.image}: {one_line(error)}"
            ) from None
        if not len(done.placed.shapes):
            return NO_LABELS
        column = source.rules.column or CLASS
        rules = replace(source.rules, layer=LABELS, column=column, box_rim=None)
        return PlaceLabels(PolygonLabels(replace(source, rules=rules)), done)

    def example(self, folder: Path, shown: Shown) -> Example:
        """Write a place around each patch of a class, which is done, and one over all, which is not."""
        found = shapes(shown.indexes, shown.indexes != IGNORE, transform=shown.grid.transform)
        patches = [(shapely.geometry.shape(patch), shown.classes[int(index)].name) for patch, index in found]
        path, crs = folder / f"labels{END}", None if shown.grid.crs is None else shown.grid.crs.to_wkt()
        everywhere = shapely.box(*shown.grid.bounds)
        places = [*(patch for patch, _ in patches), everywhere]
        columns: dict[str, list[Any]] = {DONE: [True] * len(patches) + [False], SCENE: [""] * len(places)}
        _write(path, PLACES, places, columns, crs)
        guessed = [(everywhere, shown.classes[0].name), *patches]
        _write(path, LABELS, [shape for shape, _ in guessed], {CLASS: [name for _, name in guessed]}, crs)
        return Example(path, LabelRules())


def _write(path: Path, layer: str, shapes: Sequence[Any], columns: dict[str, list[Any]], crs: str | None) -> None:
    fields = [np.array(values, bool if isinstance(values[0], bool) else object) for values in columns.values()]
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(shapes, object)), fields, [*columns],
        layer=layer, geometry_type="Polygon", crs=crs, driver="GPKG",
    )  # fmt: skip


PLACES_FILES = PlacesFiles()


class PlaceLabels(ChangedLabels):
    """Polygons of classes, within places."""

    def __init__(self, labels: PolygonLabels, done: DonePlaces):
        super().__init__(labels)
        self._done = done

    def read(self, window: Window) -> NDArray[np.uint8]:
        """Rasterize class indexes (h, w) of a window; IGNORE outside of the places."""
        burnt, inside = self._labels.read(window), np.full((window.height, window.width), IGNORE, np.uint8)
        self._done.placed.burn(window, inside)
        burnt[inside == IGNORE] = IGNORE
        return burnt

    def features(self) -> Features:
        """The places, each a feature of the class of its largest polygon: a split deals out whole places.

        None where what lies between polygons is labelled, too.
        """
        polygons, places = self._labels.features(), self._done.placed.shapes
        if not len(polygons.shapes):
            return NO_FEATURES
        tree = shapely.STRtree(polygons.shapes)
        indexes = [_most_of(place, polygons, np.sort(tree.query(place, "intersects"))) for place in places]
        return Features(self._done.placed.shapes, self._done.keys, np.array(indexes, np.uint8))


def _most_of(place: Any, polygons: Features, near: NDArray[np.intp]) -> int:
    """Index of the class of the last of the largest polygons in a place; IGNORE without one."""
    if not len(near):
        return IGNORE
    areas = shapely.area(shapely.intersection(polygons.shapes[near], place))
    return int(polygons.indexes[near[np.flatnonzero(areas == areas.max())[-1]]])
