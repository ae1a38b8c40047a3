"""Suspects: areas whose labels are likely to be wrong, as a vector file to be looked through and edited.

In: ranked suspects. Out: polygons in the coordinate system of their images. The file goes back into training as
it is, as `data.corrections`: its column `correction` is empty, which leaves the pixels out, until somebody names a
class there.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pyogrio
import shapely
from pyproj import CRS, Transformer

from geoseg.core.errors import OutputError
from geoseg.core.files import one_line, sync, workspace
from geoseg.core.naming import layer_name
from geoseg.core.safe_paths import plain_folder
from geoseg.core.wording import number_of
from geoseg.geo.crs import map_crs, same_horizontal_crs
from geoseg.spec import ClassSpec

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".json": "GeoJSON", ".fgb": "FlatGeobuf", ".shp": "ESRI Shapefile"}
"""GDAL's drivers by extension; GeoParquet is written without GDAL."""
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "GPKG": {"VERSION": "1.2"}, "GeoJSON": {"COORDINATE_PRECISION": "9"}, "ESRI Shapefile": {"ENCODING": "UTF-8"},
}  # fmt: skip
"""Options of GDAL's drivers."""
SHORT_NAMES = {"self_confidence": "self_conf"}
"""Names in a Shapefile of columns whose own are longer than its 10 characters."""
PARQUET = ".parquet"
CORRECTION = "correction"
"""The column in which a class is named by hand, see `geoseg.data.labels.corrections`."""
DEGREES = "EPSG:4326"
"""The system of files whose images have several."""
_DRAFT = "draft"
"""Stem of unfinished files."""


@dataclass(frozen=True)
class Suspect:
    """A connected area of one label, of which a model is confident that it is of another class."""

    label: int
    """Index of the class that it is labelled as."""
    predicted: int
    """Index of the class that the model is confident of."""
    confidence: float
    """Mean probability of the predicted class, 0 to 1."""
    self_confidence: float
    """Mean probability of the label, 0 to 1."""
    score: float
    """What suspects are ranked by, see `geoseg.training.scoring.find_suspects`."""
    pixels: int
    """Size in pixels."""
    area_m2: float | None
    """Size in square metres; None where the coordinate system gives no metres."""
    image: str
    """File name of the image that shows the most of it."""
    shape: Any
    """The polygon, along pixel borders: in the image's coordinate system, or in its pixels if it has none."""
    crs: Any
    """The coordinate system, or None."""


def check_suspects_file(path: Path, overwrite: bool) -> None:
    """Refuse a path that could not be written, before any work is done.

    Raises:
        OutputError: if the extension is unknown, or the file exists and may not be replaced.
    """
    if path.suffix.lower() not in (*DRIVERS, PARQUET):
        raise OutputError(f"{path} does not end in {', '.join((*DRIVERS, PARQUET))}: choose another --suspects")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: choose another --suspects")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: pass --overwrite to replace it, or choose another --suspects")


def check_systems(systems: Sequence[Any], path: Path) -> None:
    """Refuse a file that cannot hold the coordinates of images, given their coordinate systems (None for none).

    Raises:
        OutputError: if no image has one, and the format takes only longitude and latitude.
    """
    if _is_json(path) and all(map_crs(system) is None for system in systems):
        raise OutputError(f"{path}: the images have no coordinate system, which GeoJSON cannot say: write .gpkg")


def _is_json(path: Path) -> bool:
    return DRIVERS.get(path.suffix.lower()) == "GeoJSON"


def write_suspects(suspects: Sequence[Suspect], classes: Sequence[ClassSpec], path: Path) -> tuple[str, ...]:
    """Write ranked suspects; return notices on those that the file cannot hold, and on its coordinate system.

    Raises:
        OutputError: if the file cannot be written.
    """
    ranked = list(enumerate(suspects, 1))
    placed = [(rank, one) for rank, one in ranked if map_crs(one.crs) is not None]
    kept = placed or ranked
    notices: tuple[str, ...] = ()
    if len(kept) < len(ranked):
        left_out = number_of(len(ranked) - len(kept), "suspect")
        notices += (f"{path} leaves out {left_out} in images without coordinate system: evaluate those images apart",)
    systems = [one.crs for _, one in placed]
    crs = map_crs(systems[0]) if systems else None
    differ = any(not same_horizontal_crs(system, systems[0]) for system in systems)
    if differ:
        notices += (f"images have several coordinate systems: {path} is in longitude and latitude",)
    if crs is not None and (differ or _is_json(path)):
        kept = [(rank, replace(one, shape=_in_degrees(one))) for rank, one in kept]
        crs = CRS.from_user_input(DEGREES)
    _write(_table(kept, classes), crs, path)
    return notices


def _in_degrees(suspect: Suspect) -> Any:
    move = Transformer.from_crs(map_crs(suspect.crs), DEGREES, always_xy=True).transform
    return shapely.transform(suspect.shape, lambda xy: np.stack(move(*xy.T), axis=1))


def _table(ranked: Sequence[tuple[int, Suspect]], classes: Sequence[ClassSpec]) -> pa.Table:
    """The rows of the file."""
    suspects = [one for _, one in ranked]
    shapes = shapely.orient_polygons(np.array([one.shape for one in suspects], object))
    columns = {
        "rank": pa.array([rank for rank, _ in ranked], pa.int32()),
        "label": pa.array([classes[one.label].name for one in suspects], pa.string()),
        "predicted": pa.array([classes[one.predicted].name for one in suspects], pa.string()),
        "confidence": pa.array([round(one.confidence, 4) for one in suspects], pa.float64()),
        "self_confidence": pa.array([round(one.self_confidence, 4) for one in suspects], pa.float64()),
        "score": pa.array([round(one.score, 1) for one in suspects], pa.float64()),
        "area_px": pa.array([one.pixels for one in suspects], pa.int64()),
        "area_m2": pa.array([one.area_m2 for one in suspects], pa.float64()),
        "image": pa.array([one.image for one in suspects], pa.string()),
        CORRECTION: pa.nulls(len(suspects), pa.string()),
        "geometry": pa.array(shapely.to_wkb(shapes).tolist(), pa.binary()),
    }
    return pa.table(columns)


def _write(table: pa.Table, crs: CRS | None, path: Path) -> None:
    """Write a table, in one step: what is there before is replaced by a complete file.

    Raises:
        OutputError: if it cannot be written.
    """
    try:
        with workspace(path) as folder, plain_folder(folder) as reached:
            _write_draft(table, crs, reached / f"{_DRAFT}{path.suffix}", layer_name(path.stem))
            for part in sorted(folder.iterdir(), key=lambda part: part.suffix == path.suffix):
                sync(part)
                os.replace(part, path.with_name(path.stem + part.name.removeprefix(_DRAFT)))
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error


def _write_draft(table: pa.Table, crs: CRS | None, path: Path, layer: str) -> None:
    if path.suffix.lower() == PARQUET:
        column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": crs and crs.to_json_dict()}
        about = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
        pyarrow.parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(about)}), path)
        return
    driver = DRIVERS[path.suffix.lower()]
    field = pa.field("geometry", pa.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
    names = SHORT_NAMES if driver == "ESRI Shapefile" else {}
    attributes = [one.with_name(names.get(one.name, one.name)) for one in table.schema if one.name != field.name]
    schema = pa.schema([*attributes, field])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            table.rename_columns(schema.names).cast(schema),
            path,
            driver=driver,
            layer=layer,
            geometry_name="geometry",
            geometry_type="Polygon",
            crs=None if crs is None or driver == "GeoJSON" else crs.to_wkt(),
            **OPTIONS.get(driver, {}),
        )
