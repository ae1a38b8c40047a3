"""The beacon task of the benchmarks: scenes whose classes only their surroundings decide."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

NO_COLOURS = "warp", "gamma", "contrast", "brightness", "saturation", "band_gain", "band_shift", "band_mix", "noise"
"""Augmentations that would hide a beacon's colour or move it."""


def beacon_module() -> Any:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "beacon.py"
    spec = importlib.util.spec_from_file_location("beacon", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["beacon"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module
