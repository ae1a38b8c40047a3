"""`geoseg info` of a vector file: its layers, with licence and credits of what made them, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.core.naming import visible
from geoseg.core.safe_paths import plain_path
from geoseg.geo.crs import crs_name
from geoseg.raster.notices_tag import stated_notices
from geoseg.raster.rights import Rights

ENDINGS = (".gpkg", ".shp", ".geojson", ".fgb", ".parquet", ".pmtiles", ".mbtiles")
"""Endings of vector files; a .json may be a STAC Item, which stands for a scene."""


def describe_polygons(path: str) -> dict[str, Any] | None:
    """The layers of a vector file; None if a path is no file of that kind, or one that holds no layers but rasters.

    Raises:
        SceneError: if it cannot be read.
    """
    file = Path(path)
    if file.suffix.lower() not in ENDINGS or not file.is_file():
        return None
    import pyarrow as pa

    try:
        layers = {file.stem: _of_parquet(file)} if file.suffix.lower() == ".parquet" else _of_gdal(file)
    except (RuntimeError, OSError, ValueError, pa.ArrowException) as error:
        raise SceneError(f"{path} cannot be read: {one_line(error)}: check that it is a vector file") from None
    return {"polygons": path, "bytes": file.stat().st_size, "layers": layers} if layers else None


def _of_gdal(file: Path) -> dict[str, dict[str, Any]]:
    import pyogrio

    with plain_path(file) as plain:
        names = pyogrio.list_layers(plain)[:, 0]
        found = [pyogrio.read_info(plain, layer=name) for name in names]
    return {str(one["layer_name"]): _layer(one) for one in found}


def _layer(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "features": int(found["features"]),
        "geometry": found["geometry_type"],
        "crs": crs_name(found["crs"]) if found["crs"] else None,
        "columns": [str(column) for column in found["fields"]],
        **_about((found.get("dataset_metadata") or {}) | (found.get("layer_metadata") or {})),
    }


def _of_parquet(file: Path) -> dict[str, Any]:
    """The only layer of a GeoParquet file, whose metadata GDAL's usual builds cannot read."""
    import pyarrow.parquet

    found = pyarrow.parquet.read_metadata(file)
    metadata = {key.decode(): text.decode("utf-8", "replace") for key, text in (found.metadata or {}).items()}
    return {
        "features": found.num_rows,
        "columns": [name for name in found.schema.to_arrow_schema().names if name not in ("bbox", "geometry")],
        **_about(metadata),
    }


def _about(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What the metadata say of licence and credits, and notices; of a format without names for them the description."""
    rights, notices = Rights.stated(metadata).facts(), stated_notices(metadata)
    if rights or notices:
        return rights | ({"notices": list(notices)} if notices else {})
    lines = metadata.get("DESCRIPTION", metadata.get("description", "")).splitlines()
    return {"description": [visible(line) for line in lines]} if lines else {}
