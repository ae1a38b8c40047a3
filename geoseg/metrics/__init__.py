"""Metrics, one file each, and the pixel counts from which they are computed.

A new metric is a file here with a class that fulfils `geoseg.metrics.metric.Metric`, and a line in `METRICS`, which is
defined in `geoseg/metrics/metric.py`. A metric of another package is an entry point of the group `geoseg.metrics`.
Every output iterates `Scores`, so that its figure appears everywhere under its name.
"""
