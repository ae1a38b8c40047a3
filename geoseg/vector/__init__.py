"""From class rasters to polygons: generalisation, tracing, vector files, and checks of the result."""
