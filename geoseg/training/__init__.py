"""Training: from labelled rasters to a bundle."""
