"""Fixtures that tests of every room use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from support.servers import serving

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: workers of xdist share the cores
settings.register_profile("geoseg", deadline=None)  # a busy machine is no failure
settings.load_profile("geoseg")


@pytest.fixture
def class_values() -> Callable[..., np.ndarray]:
    """Random class ids in blobs of a few pixels."""

    def make(height: int, width: int, classes: int = 4, seed: int = 0, blob: int = 5) -> np.ndarray:
        small = np.random.default_rng(seed).integers(
            0, classes, (height // blob + 1, width // blob + 1), dtype=np.uint8
        )
        return np.kron(small, np.ones((blob, blob), np.uint8))[:height, :width]

    return make


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the test's folder."""
    with serving(tmp_path) as url:
        yield url
