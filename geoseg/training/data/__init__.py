"""What a run learns from and is scored on: labelled rasters, read, counted, split and checked."""
