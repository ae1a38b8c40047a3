"""GeoParquet 1.0, with geometry as well-known binary."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet
import shapely
from numpy.typing import NDArray

from geoseg.raster.notices_tag import notices_tags
from geoseg.vector.formats.ogr import sqlite_leftovers
from geoseg.vector.layer import PolygonLayer


class GeoParquet:
    """One file of columns."""

    in_degrees = False
    holds_styles = False

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer batch by batch; the format has no layer names."""
        crs = polygons.output_crs
        column = {
            "encoding": "WKB",
            "geometry_types": [polygons.geometry_type] if len(polygons) else [],
            "crs": None if crs is None else crs.to_json_dict(),
            "orientation": "counterclockwise",
        }
        about = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
        schema = polygons.schema.with_metadata({"geo": json.dumps(about), **notices_tags(polygons.notices)})
        with pyarrow.parquet.ParquetWriter(path, schema) as file:
            for batch in polygons.batches():
                file.write_batch(batch.cast(schema))

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the columns of class ids and geometry."""
        table = pyarrow.parquet.read_table(path, columns=["class_id", "geometry"])
        polygons = shapely.from_wkb(table["geometry"].to_numpy())
        return table["class_id"].to_numpy().astype(np.int64), np.asarray(polygons, object)

    def leftovers(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_leftovers(path)


GEOPARQUET = GeoParquet()
