"""How well predictions match labels: one file a metric, and what counts the pixels that they are computed from.

A new metric is a file here with a class that does what `geoseg.metrics.metric.Metric` says, and a line in `METRICS`. A
metric of another package is an entry point of the group `geoseg.metrics`. Every output iterates `Scores`, so that its
figure appears everywhere under its name.
"""
