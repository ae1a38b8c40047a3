"""Filters along the minimum spanning trees of images."""
