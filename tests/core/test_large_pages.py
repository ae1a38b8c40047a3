"""PyTorch's arrays lie in large pages, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from geoseg.core.large_pages import VARIABLE


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_importing_geoseg_asks_for_them_and_loads_nothing(given: str | None, found: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment |= {} if given is None else {VARIABLE: given}
    code = f"import geoseg, os, sys; print(os.environ[{VARIABLE!r}], 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.split() == [found, "False"]
