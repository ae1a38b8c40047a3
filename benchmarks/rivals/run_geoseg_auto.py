"""geoseg in the arithmetic that it chooses by itself: bf16 where the machine has it."""

from pathlib import Path

import run_geoseg_fp32
from case import Case

PACKAGE = "geoseg"


def predict(case: Case) -> Path:
    """The class raster alone."""
    return run_geoseg_fp32.predict(case, precision="auto")
