"""Bands: their names and spectral roles, and their selection for a model."""
