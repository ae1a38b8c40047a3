"""What every room needs and no room owns: errors, files, texts, queues. Knows neither rasters nor tensors."""
