"""A class raster becomes polygons."""
