"""Training methods, one file each.

A new method is a file here with a class derived from `geoseg.training.methods.method.Method`, and a line in `METHODS`,
which is defined in `geoseg/spec/method.py`, because names of methods are settings. A method of another package is an
entry point of the group `geoseg.methods`.
"""
