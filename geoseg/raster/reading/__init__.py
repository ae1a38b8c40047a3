"""Rasters open for reading: whatever GDAL raises or logs while it reads is an error, and pixels are read side by side.

In: anything GDAL opens. Out: pixels that are all there, or a RasterioError that names the file which failed.

GDAL loses the errors of its own threads, so that it gets none (`SAFE`): speed comes from several readers, threads of
geoseg's own that each have the file open for themselves. A server that stumbles is asked again, for a bounded time.
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
