"""Outputs besides polygons: rasters, styles, attribute tables, STAC Items, previews, reports."""
