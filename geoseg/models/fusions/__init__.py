"""Fusions of a context branch, one file each: how what the views show is joined to what a window shows.

A new fusion is a file here with a subclass of `geoseg.models.fusions.fusion.Fusion`, and a line in `FUSIONS`, which is
defined in `geoseg/spec/fusion.py`, because names of fusions are settings. A fusion of another package is an entry point
of the group `geoseg.fusions`.
"""
