"""A raster as a cloud-optimised GeoTIFF. In: any raster, e.g. the mosaic of a scene's parts. Out: the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rasterio
from rasterio.shutil import copy as copy_raster

from geoseg.core.files import quiet_georeferencing, write_errors
from geoseg.outputs.geotiff import BLOCK, RasterFormat
from geoseg.outputs.mode_overviews import OVERVIEW_PX, write_mode_overviews


def write_cog(raster: Path, layout: RasterFormat, path: Path) -> None:
    """Write a raster as a cloud-optimised GeoTIFF with overviews, to a path in a workspace."""
    is_by_mode = layout.overviews == "mode" and layout.dtype == "uint8" and len(layout.bands) == 1
    source = write_mode_overviews(raster, layout) if is_by_mode else raster
    with write_errors(path.parent.parent), quiet_georeferencing(), _cog_settings(source, path):
        copy_raster(
            str(source),
            str(path),
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="NO" if layout.dtype == "uint8" else "YES",
            BLOCKSIZE=str(BLOCK),
            OVERVIEW_RESAMPLING=layout.overviews.upper(),
            BIGTIFF="IF_SAFER",
            SPARSE_OK="YES",
            NUM_THREADS="ALL_CPUS",
        )


def _cog_settings(raster: Path, path: Path) -> Any:
    """A context in which GDAL makes overviews of very wide rasters from few rows at a time, as it holds whole rows.

    Its scratch files lie beside the new file: on the same disk, and removed with it if this process is killed.
    """
    with rasterio.open(raster) as dataset:
        rows = OVERVIEW_PX // dataset.width // 64 * 64
    memory = {"GDAL_OVR_CHUNKYSIZE": max(64, rows)} if rows < 2 * BLOCK else {}
    return rasterio.Env(CPL_TMPDIR=str(path.parent), **memory)
