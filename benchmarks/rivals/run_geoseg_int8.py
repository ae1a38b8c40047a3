"""geoseg in integers of 8 bits, whose ranges the bundle holds."""

from pathlib import Path

import run_geoseg_fp32
from case import Case

PACKAGE = "geoseg"


def predict(case: Case) -> Path:
    """The class raster alone."""
    return run_geoseg_fp32.predict(case, precision="int8")
