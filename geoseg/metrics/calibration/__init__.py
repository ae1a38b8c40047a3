"""Figures of how well probabilities fit labels, one file each, and the counts from which they are computed.

A new figure is a file here with a class that fulfils `geoseg.metrics.calibration.metric.CalibrationMetric`, and a line
in `CALIBRATION_METRICS`, which is defined there. One of another package is an entry point of the group
`geoseg.calibration_metrics`. Every output iterates `Calibration`, so that a figure appears everywhere under its name.
"""
