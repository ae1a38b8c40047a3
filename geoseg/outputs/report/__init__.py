"""A run's report: one HTML file with figures, curves, tables and pictures, which needs nothing but a browser.

In: scores, metrics per epoch and windows that somebody else computed (`contents`). Out: the file (`page`). Knows
neither networks nor rasters, and computes no score itself. The text and the looks of the page stand in its templates.
"""
