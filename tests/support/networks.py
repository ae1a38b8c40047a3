"""Names of architectures as parameters of tests."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from geoseg.models.families import FAMILIES

OF_TRANSFORMERS = {"maskformer", "mask2former"}
"""Architectures of the extra geoseg[transformers]."""


def buildable(name: str, *marks: pytest.MarkDecorator) -> Any:
    """An architecture, skipped if the extra that it needs is not installed."""
    is_lacking = name in OF_TRANSFORMERS and find_spec("transformers") is None
    return pytest.param(name, marks=[*marks, pytest.mark.skipif(is_lacking, reason="needs geoseg[transformers]")])


ALL = [buildable(name) for name in FAMILIES]
