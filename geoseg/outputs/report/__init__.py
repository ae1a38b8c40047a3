"""The report of a run: one self-contained HTML file with figures, curves, tables and pictures.

In: scores, metrics per epoch and example windows (`contents`). Out: the file (`page`). Knows neither networks nor
rasters, and computes no scores. Text and layout of the page are in its templates.
"""
