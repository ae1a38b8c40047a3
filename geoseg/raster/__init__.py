"""Reading of rasters: scenes, bands, validity, windows at any resolution, context levels. Knows no network."""
