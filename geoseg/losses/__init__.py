"""Losses, one file each, and their weighted sum.

A new loss is a file here with a class derived from `geoseg.losses.loss.Loss`, and a line in `LOSSES`, which is defined
in `geoseg/spec/loss.py`, because names of losses are settings. A loss of another package is an entry point of the group
`geoseg.losses`.
"""
