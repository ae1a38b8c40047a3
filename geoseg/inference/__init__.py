"""A scene and a model become a class raster, tile row by tile row, so that a run that was killed goes on."""
