"""Labelled rasters become a bundle."""
