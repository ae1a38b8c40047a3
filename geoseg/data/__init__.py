"""Labelled rasters: listing, labels, class statistics, splits, tiles."""
