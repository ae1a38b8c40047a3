"""Models that other libraries wrote themselves give the same logits: see make_layout_fixtures.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.layouts import logits_of

from geoseg import import_model

FOLDER = Path(os.environ.get("GEOSEG_LAYOUT_FIXTURES", Path(__file__).parent / "written"))
FIXTURES = sorted(path.parent for path in FOLDER.glob("*/expected.json"))
LEFT_OPEN: dict[str, Any] = {"dtype": "float32", "mean": 0, "std": 1, "resolution": "unknown"}


@pytest.mark.skipif(not FIXTURES, reason="make_layout_fixtures.py has written none: needs other libraries")
@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.name)
def test_a_model_that_its_library_wrote_gives_its_logits(fixture: Path, tmp_path: Path) -> None:
    expected, tensors = (
        json.loads((fixture / "expected.json").read_text("utf-8")),
        load_file(fixture / "expected.safetensors"),
    )
    classes = ("background", "town") if expected["sigmoid"] else ("sea", "wood", "field", "town")
    said = LEFT_OPEN | {"bands": ("red", "green", "blue"), "classes": classes}
    result = import_model(fixture / expected["source"], tmp_path / "m.safetensors", **said)
    with torch.inference_mode():
        logits = logits_of(result.bundle, tensors["image"])
    logits = logits[:, 1:] if expected["sigmoid"] else logits
    torch.testing.assert_close(logits, tensors["logits"], rtol=0, atol=1e-5)
