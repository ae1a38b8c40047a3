"""GeoParquet 1.1: geometry as well-known binary, a bounding box beside it, in the order of a Hilbert curve.

Readers that want a part of the map read only the row groups whose boxes, of which the file holds the extremes, meet it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import shapely
from numpy.typing import NDArray

from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.ogr import sqlite_parts
from geoseg.vector.layer import PolygonLayer

GROUP_ROWS = 49_152
"""Rows of a row group."""
GROUP_BYTES = 128 * 2**20
"""Bytes at which a row group is written though it has fewer rows: so many are held in memory."""
SIDES = ("xmin", "ymin", "xmax", "ymax")
"""Fields of the bounding box, in shapely's order."""
BBOX = pa.struct([pa.field(side, pa.float64(), nullable=False) for side in SIDES])


class GeoParquet:
    """One file of columns."""

    traits = FormatTraits()

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer group by group; the format has no layer names."""
        schema = polygons.schema
        schema = schema.insert(len(schema) - 1, pa.field("bbox", BBOX)).remove_metadata()
        schema = pa.schema([field.remove_metadata() for field in schema])
        bounds = _NOWHERE
        plain = ["geometry", *(f"bbox.{side}" for side in SIDES), "area_m2", "perimeter_m", "instance_id"]
        encoded = [field.name for field in schema if field.name not in (*plain, "bbox")]
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=encoded) as file:
            for group in _groups(polygons, schema):
                file.write_table(group)
                bounds = _united(bounds, group)
            geo = {"geo": json.dumps(_description(polygons, bounds))}
            file.add_key_value_metadata(geo | polygons.metadata)

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the columns of class ids and geometry."""
        table = pyarrow.parquet.read_table(path, columns=["class_id", "geometry"])
        polygons = shapely.from_wkb(table["geometry"].to_numpy())
        return table["class_id"].to_numpy().astype(np.int64), np.asarray(polygons, object)

    def count(self, path: Path) -> int:
        """Count the rows, of which the file holds the number."""
        return int(pyarrow.parquet.read_metadata(path).num_rows)

    def parts(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_parts(path)


_NOWHERE = np.array([np.inf, np.inf, -np.inf, -np.inf])


def _groups(polygons: PolygonLayer, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield row groups with bounding boxes: all but the last one full, unless their geometry is very large."""
    held = schema.empty_table()
    for batch in polygons.batches_along_curve():
        held = pa.concat_tables([held, _with_boxes(batch, schema)])
        while len(held) >= GROUP_ROWS:
            yield held[:GROUP_ROWS].combine_chunks()
            held = held[GROUP_ROWS:]
        if held.nbytes >= GROUP_BYTES:
            yield held
            held = schema.empty_table()
    if len(held):
        yield held


def _with_boxes(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """A batch as a table with a column of bounding boxes before the geometry."""
    sides = shapely.bounds(shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False))).T
    boxes = pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(BBOX))
    return pa.Table.from_arrays([*batch.columns[:-1], boxes, batch["geometry"]], schema=schema)


def _united(bounds: NDArray[np.float64], group: pa.Table) -> NDArray[np.float64]:
    """Bounds (4,) of what was written before and of a group."""
    sides = [pa.compute.struct_field(group["bbox"], side) for side in SIDES]
    low = [pa.compute.min(side).as_py() for side in sides[:2]]
    high = [pa.compute.max(side).as_py() for side in sides[2:]]
    return np.concatenate([np.minimum(bounds[:2], low), np.maximum(bounds[2:], high)])


def _description(polygons: PolygonLayer, bounds: NDArray[np.float64]) -> dict[str, Any]:
    """The file's metadata under the key "geo"."""
    crs = polygons.output_crs
    column = {
        "encoding": "WKB",
        "geometry_types": [polygons.geometry_type] if len(polygons) else [],
        "crs": None if crs is None else crs.to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in SIDES}},
        **({"bbox": bounds.tolist()} if len(polygons) else {}),
    }
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


GEOPARQUET = GeoParquet()
