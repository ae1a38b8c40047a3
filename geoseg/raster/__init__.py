"""Rasters as they come: opened, their bands found, read window by window at any resolution. Knows no network."""
