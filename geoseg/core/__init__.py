"""Common to all packages: errors, events, registries, files, texts, queues. Knows neither rasters nor tensors."""
