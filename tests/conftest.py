"""Fixtures that tests of every room use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from support.models import (  # noqa: F401
    CountingEcho,
    Echo,
    class_specs,
    echo_model,
    make_spec,
    save_bundle,
)
from support.rasters import SHARED_DATA, TRANSFORM, UTM, needs_shared_data, write_raster  # noqa: F401
from support.reporters import Heard, Watching  # noqa: F401
from support.servers import serving

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
