"""Geometry: windows of pixels, coordinate systems, geodesy, areas of interest, reading of vector files."""
