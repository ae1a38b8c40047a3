"""Labelled rasters: listed, read, counted, split."""
