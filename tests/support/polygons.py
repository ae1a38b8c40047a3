"""A layer of polygons as a table, for tests that look at it."""

from __future__ import annotations

import geopandas
import pyarrow as pa

from geoseg.vector.layer import PolygonLayer


def frame_of(layer: PolygonLayer) -> geopandas.GeoDataFrame:
    """All features of a layer at once."""
    table = pa.Table.from_batches(layer.batches(), layer.schema)
    frame = table.drop_columns("geometry").to_pandas()
    geometry = geopandas.GeoSeries.from_wkb(table["geometry"].to_pandas(), crs=layer.output_crs)
    return geopandas.GeoDataFrame(frame, geometry=geometry)
