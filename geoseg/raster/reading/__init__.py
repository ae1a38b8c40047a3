"""Rasters open for reading: any error that GDAL raises or logs while it reads is raised, and threads read in parallel.

In: anything GDAL opens. Out: complete pixels, or a RasterioError that names the file which failed.

GDAL loses the errors of its own threads, so these are off (`SAFE`): speed comes from several readers, threads of
geoseg's own that each have the file open for themselves. Failed requests to servers are repeated, for a bounded time.
"""

from geoseg.core.gdal_options import SAFE, server_options, waiting_options
from geoseg.raster.reading.dataset import Dataset, open_dataset, to_rasterio
from geoseg.raster.reading.faults import unreadable
from geoseg.raster.reading.stored import held_pixels

__all__ = [
    "SAFE",
    "Dataset",
    "held_pixels",
    "open_dataset",
    "server_options",
    "to_rasterio",
    "unreadable",
    "waiting_options",
]
