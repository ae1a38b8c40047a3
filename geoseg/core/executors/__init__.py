"""Executors run tasks: in this thread, in processes of this machine, on the workers of a cluster. Know no scene.

A new executor is a file here with a function that opens it, and a line in `EXECUTORS`, which is defined in
`geoseg/core/executors/registry.py`. One of another package is an entry point of the group `geoseg.executors`.
"""
