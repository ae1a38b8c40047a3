"""Scenes of several files, one or more for each band: read window by window on one grid, as if they were one raster.

In: files, and what is known of their bands. Out: a Scene.
"""

from geoseg.raster.bands.files import BandFile
from geoseg.raster.composites.opening import open_raster

__all__ = ["BandFile", "open_raster"]
