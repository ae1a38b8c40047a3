"""The notebooks of the documentation run from beginning to end."""

import importlib.util
from pathlib import Path

import pytest
from support.readers import copy_checkout

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_pictures(path, quick, tmp_path):
    copy_checkout(tmp_path, quick=quick)
    spec = importlib.util.spec_from_file_location("make_notebooks", ROOT / "docs" / "make_notebooks.py")
    making = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(making)
    outputs = [one for cell in making.run(path, tmp_path).cells for one in cell.get("outputs", [])]
    assert not [one for one in outputs if one.get("name") == "stderr"]
    assert [one for one in outputs if "image/jpeg" in one.get("data", {})]
