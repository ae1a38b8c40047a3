"""Probability samples of places in rasters, from which accuracies and areas are estimated without bias."""
