"""Files of places to be labelled: windows of scenes, with a model's guess of the labels in them to be corrected.

In: ranked places, and polygons as Arrow tables. Out: a GeoPackage with the layers `places` and `labels`, each with its
style and its forms: a checkbox for what is done, a list of the classes for the class of a polygon. The file goes back
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
from geoseg.outputs.place_styles import labels_qml, places_qml
from geoseg.outputs.styles import add_layer_style
from geoseg.raster.legend import CLASSES_TAG
from geoseg.spec import ClassSpec

PLACES, LABELS, END = "places", "labels", ".gpkg"
"""The layers, and the extension of the file."""


@dataclass(frozen=True)
class WrittenPlace:
    """A place, as it is written."""

    scene: str
    """Name of the scene that shows it."""
    uncertainty: float
    """Mean uncertainty of its pixels, 0 to 1."""
    classes: str
    """The predicted classes with their shares, in words."""
    valid_share: float
    """Share of its pixels that hold data, 0 to 1."""
    shape: Any
    """The polygon in the file's coordinate system, or the parts of it."""


def check_places_file(path: Path, may_replace: bool) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        OutputError: if the extension is another one, or the file exists and may not be replaced.
    """
    if path.suffix.lower() != END:
        raise OutputError(f"{path} does not end in {END}: places and their labels are two layers of a GeoPackage")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: choose another --output")
    if path.exists() and not may_replace:
        raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --output")


def write_places(
    places: Sequence[WrittenPlace], labels: Iterable[pa.Table], classes: Sequence[ClassSpec], crs: CRS, path: Path
) -> int:
    """Write ranked places, the first one first, and the polygons in them; return the number of polygons.

    What is at the path before is replaced by a complete file, in one step.

    Args:
        places: the places.
        labels: polygons of each place: `class`, and `geometry` as WKB; other columns are left out.
        classes: the classes of the model.
        crs: coordinate system of all shapes.
        path: the file.

    Raises:
        OutputError: if the file cannot be written.
    """
    ranked = pa.concat_tables([_of_place(rank, table) for rank, table in enumerate(labels, 1)])
    about = {CLASSES_TAG: json.dumps([c.model_dump(mode="json") for c in classes])}
    try:
        with workspace(path) as folder, plain_folder(folder) as reached:
            draft = reached / f"draft{END}"
            _write(_table(places), PLACES, draft, crs, about)
            _write(ranked, LABELS, draft, crs, about)
            add_layer_style(draft, LABELS, labels_qml(classes), "")
            add_layer_style(draft, PLACES, places_qml(), "")
            sync(draft)
            os.replace(draft, path)
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error
    return len(ranked)


def _table(places: Sequence[WrittenPlace]) -> pa.Table:
    shapes = np.array([one.shape for one in places], object)
    columns = {
        "rank": pa.array(range(1, len(places) + 1), pa.int32()),
        "done": pa.array([False] * len(places), pa.bool_()),
        "scene": pa.array([one.scene for one in places], pa.string()),
        "uncertainty": pa.array([round(one.uncertainty, 4) for one in places], pa.float64()),
        "classes": pa.array([one.classes for one in places], pa.string()),
        "valid_share": pa.array([round(one.valid_share, 4) for one in places], pa.float64()),
        "geometry": _as_multi(shapes),
    }
    return pa.table(columns)


def _of_place(rank: int, table: pa.Table) -> pa.Table:
    """The polygons of a place with its rank; without what is wrong as soon as one is edited, as their area."""
    shapes = np.asarray(shapely.from_wkb(table["geometry"].to_numpy()), object)
    ranks = pa.array([rank] * len(table), pa.int32())
    return pa.table({"place": ranks, "class": table["class"], "geometry": _as_multi(shapes)})


def _as_multi(shapes: NDArray[np.object_]) -> pa.Array:
    """Shapes (N,) as multipolygons: editors write such into a layer as soon as two polygons are joined."""
    parts, owners = shapely.get_parts(shapes, return_index=True)
    multi = shapely.orient_polygons(shapely.multipolygons(parts, indices=owners))
    return pa.array(list(shapely.to_wkb(multi)), pa.binary())


def _write(table: pa.Table, layer: str, path: Path, crs: CRS, about: dict[str, str]) -> None:
    geometry = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    schema = pa.schema([*(one for one in table.schema if one.name != geometry.name), geometry])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            table.cast(schema),
            path,
            driver="GPKG",
            layer=layer,
            geometry_name=geometry.name,
            geometry_type="MultiPolygon",
            crs=crs.to_wkt(),
            layer_metadata=about,
            VERSION="1.2",
        )
