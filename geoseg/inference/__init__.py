"""Prediction: a scene and a model become a class raster, made tile row by tile row, so that a killed run can resume."""
