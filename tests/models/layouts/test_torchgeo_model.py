"""A model that TorchGeo's own trainer has just trained: two commands, and its own classes. See torchgeo_model.py.

GEOSEG_TORCHGEO_PYTHON=ENV/bin/python pytest tests/models/layouts/test_torchgeo_model.py
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from geoseg.cli import main
from geoseg.cli.import_model import import_model
from geoseg.cli.predict import predict

PYTHON = os.environ.get("GEOSEG_TORCHGEO_PYTHON", "")
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def torchgeo_model() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("torchgeo_model")


def test_the_commands_are_ones_that_geoseg_has(torchgeo_model: Any, tmp_path: Path) -> None:
    known = {"import": import_model, "predict": predict}
    for name, *words in torchgeo_model.commands(tmp_path):
        assert known[name].make_context(name, words).params


@pytest.mark.skipif(not PYTHON, reason="GEOSEG_TORCHGEO_PYTHON names no interpreter that has TorchGeo")
def test_a_model_of_torchgeo_gives_torchgeo_s_own_classes_and_polygons(torchgeo_model: Any, tmp_path: Path) -> None:
    torchgeo_model.train(Path(PYTHON), tmp_path, "--steps", "12")
    for words in torchgeo_model.commands(tmp_path):
        result = CliRunner().invoke(main, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    found = torchgeo_model.compare(tmp_path)
    assert found.polygons > 0
    assert found.inside > 0.995  # 0.998: windows are blended
    assert found.clear > 0.997
