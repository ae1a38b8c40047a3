"""Bands: what they are called, and which of them a model wants."""
