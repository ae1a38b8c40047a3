"""Files of places to be labelled: windows or points, with or without a guess of the labels, to be filled in in QGIS.

In: places, and polygons as Arrow tables. Out: a GeoPackage with the layers `places` and `labels`, or `points`, each
with its style and its form: a checkbox for what is done, a list of the classes for what is found. The file goes back
into training as labels as it is, see `geoseg.data.labels.places`.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.core.errors import OutputError
from geoseg.core.files import one_line, sync, workspace
from geoseg.core.safe_paths import plain_folder
from geoseg.outputs.place_styles import labels_qml, places_qml, points_qml
from geoseg.outputs.styles import add_layer_style
from geoseg.raster.legend import CLASSES_TAG
from geoseg.spec import ClassSpec

PLACES, LABELS, POINTS, END = "places", "labels", "points", ".gpkg"
"""The layers, and the extension of the file."""
_GEOMETRY = "geometry"


@dataclass(frozen=True)
class SuggestedPlaces:
    """N suggested places, the best one first."""

    scenes: Sequence[str]
    """Name of the scene that shows each (N,)."""
    uncertainty: Sequence[float]
    """Mean uncertainty of its pixels, 0 to 1 (N,)."""
    classes: Sequence[str]
    """Its predicted classes with their shares, in words (N,)."""
    valid_shares: Sequence[float]
    """Share of its pixels that hold data, 0 to 1 (N,)."""
    shapes: Sequence[Any]
    """Its polygon in the file's coordinate system, or the parts of it (N,)."""

    def table(self) -> pa.Table:
        """The rows of the layer of places."""
        return pa.table({
            "rank": pa.array(range(1, len(self.scenes) + 1), pa.int32()),
            "done": pa.array([False] * len(self.scenes), pa.bool_()),
            "scene": pa.array(self.scenes, pa.string()),
            "uncertainty": pa.array(np.round(self.uncertainty, 4), pa.float64()),
            "classes": pa.array(self.classes, pa.string()),
            "valid_share": pa.array(np.round(self.valid_shares, 4), pa.float64()),
            _GEOMETRY: as_multi(self.shapes),
        })  # fmt: skip


@dataclass(frozen=True)
class SampledPlaces:
    """N places of a probability sample: windows or points."""

    rasters: Sequence[str]
    """Name of the raster that each lies in (N,)."""
    strata: Sequence[str] | None
    """Class of the map by which it was drawn (N,); None if all were drawn alike."""
    inclusion: NDArray[np.float64]
    """Probability with which such a sample holds its window, or a point in the pixel of the point (N,), at most 1."""
    area_m2: NDArray[np.float64]
    """Area that it stands for: the sum over all places of a stratum is the stratum's area (N,)."""
    shapes: Sequence[Any]
    """Its polygon or point in the file's coordinate system (N,)."""

    def table(self, *, are_points: bool) -> pa.Table:
        """The rows of the layer of places, with `done` to be ticked, or of points, with `class` to be filled in."""
        count = len(self.rasters)
        to_fill = {"class": pa.nulls(count, pa.string())} if are_points else {"done": pa.array([False] * count)}
        strata = {} if self.strata is None else {"stratum": pa.array(self.strata, pa.string())}
        shapes = pa.array(list(shapely.to_wkb(np.array(self.shapes, object))), pa.binary())
        return pa.table({
            "number": pa.array(range(1, count + 1), pa.int32()),
            **to_fill,
            **strata,
            "inclusion": pa.array(self.inclusion, pa.float64()),
            "area_m2": pa.array(self.area_m2, pa.float64()),
            "scene": pa.array(self.rasters, pa.string()),
            _GEOMETRY: shapes if are_points else as_multi(self.shapes),
        })  # fmt: skip


def check_places_file(path: Path, may_replace: bool) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        OutputError: if the extension is another one, or the file exists and may not be replaced.
    """
    if path.suffix.lower() != END:
        raise OutputError(f"{path} does not end in {END}: places are the layers of a GeoPackage")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: choose another --output")
    if path.exists() and not may_replace:
        raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")


def write_places(
    places: pa.Table, labels: Iterable[pa.Table], classes: Sequence[ClassSpec], crs: CRS, path: Path
) -> int:
    """Write ranked places, the first one first, and the polygons in them; return the number of polygons.

    What is at the path before is replaced by a complete file, in one step.

    Args:
        places: the rows of the layer `places`.
        labels: polygons of each place: `class`, and `geometry` as WKB; other columns are left out.
        classes: the classes, which may be empty if they are unknown.
        crs: coordinate system of all shapes.
        path: the file.

    Raises:
        OutputError: if the file cannot be written.
    """
    ranked = pa.concat_tables([_NO_LABELS, *(_of_place(rank, table) for rank, table in enumerate(labels, 1))])
    names = [name for name in places.column_names if name != _GEOMETRY]
    layers = [
        _Layer(PLACES, places, "MultiPolygon", places_qml(names)),
        _Layer(LABELS, ranked, "MultiPolygon", labels_qml(classes)),
    ]
    _write(layers, classes, crs, path)
    return len(ranked)


def write_points(points: pa.Table, classes: Sequence[ClassSpec], crs: CRS, path: Path) -> None:
    """Write points whose class is to be found; arguments and errors are those of `write_places`."""
    names = [name for name in points.column_names if name != _GEOMETRY]
    _write([_Layer(POINTS, points, "Point", points_qml(names, classes))], classes, crs, path)


def as_multi(shapes: Sequence[Any]) -> pa.Array:
    """Polygons (N,) as multipolygons: editors write such into a layer as soon as two polygons are joined."""
    parts, owners = shapely.get_parts(np.array(shapes, object), return_index=True)
    multi = shapely.orient_polygons(shapely.multipolygons(parts, indices=owners))
    return pa.array(list(shapely.to_wkb(multi)), pa.binary())


_NO_LABELS = pa.table({
    "place": pa.array([], pa.int32()), "class": pa.array([], pa.string()), _GEOMETRY: pa.array([], pa.binary())
})  # fmt: skip


def _of_place(rank: int, table: pa.Table) -> pa.Table:
    """The polygons of a place with its rank; without what is wrong as soon as one is edited, as their area."""
    shapes = shapely.from_wkb(table[_GEOMETRY].to_numpy())
    ranks = pa.array([rank] * len(table), pa.int32())
    return pa.table({"place": ranks, "class": table["class"], _GEOMETRY: as_multi(list(shapes))})


@dataclass(frozen=True)
class _Layer:
    """A layer of the file."""

    name: str
    """Its name."""
    table: pa.Table
    """Its rows."""
    geometry_type: str
    """Type of its shapes."""
    qml: str
    """Its style and form for QGIS."""


def _write(layers: Sequence[_Layer], classes: Sequence[ClassSpec], crs: CRS, path: Path) -> None:
    about = {CLASSES_TAG: json.dumps([c.model_dump(mode="json") for c in classes])} if classes else {}
    try:
        with workspace(path) as folder, plain_folder(folder) as reached:
            draft = reached / f"draft{END}"
            for layer in layers:
                _write_layer(layer, crs, about, draft)
            for layer in reversed(layers):  # QGIS lists the style of the first layer first
                add_layer_style(draft, layer.name, layer.qml, "")
            sync(draft)
            os.replace(draft, path)
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error


def _write_layer(layer: _Layer, crs: CRS, about: dict[str, str], path: Path) -> None:
    geometry = pa.field(_GEOMETRY, pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    schema = pa.schema([*(one for one in layer.table.schema if one.name != _GEOMETRY), geometry])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            layer.table.cast(schema),
            path,
            driver="GPKG",
            layer=layer.name,
            geometry_name=_GEOMETRY,
            geometry_type=layer.geometry_type,
            crs=crs.to_wkt(),
            layer_metadata=about or None,
            VERSION="1.2",
        )
