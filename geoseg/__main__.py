"""`python -m geoseg` is the same as `geoseg`."""

from geoseg.cli import main

main(prog_name="geoseg")
