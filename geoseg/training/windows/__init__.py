"""Training windows: drawn at random from labelled rasters, augmented, batched."""
