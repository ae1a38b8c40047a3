"""What a model is for stands first in `info`, and in the results of the model that is taken where none is named."""

from typing import Any

import numpy as np
import pytest
from support.models import save_bundle
from support.rasters import write_raster

from geoseg.commands.info import describe_model
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.commands.predict_many import predict_many
from geoseg.models import header
from geoseg.spec import ModelCard, NetworkSpec

QUICK: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu"}
CARD = ModelCard(purpose="Shows fields.", description="Two classes.", limits="Seen Ohio alone. And much more.")


@pytest.fixture
def default(tmp_path, monkeypatch):
    path = save_bundle(tmp_path / "default.safetensors", card=CARD)
    monkeypatch.setattr(header, "default_model_path", lambda: path)
    return path


def test_the_default_model_is_named_with_its_purpose_and_limits_unless_one_is_given(tmp_path, default):
    scene = write_raster(tmp_path / "s.tif", np.ones((1, 64, 64), np.uint8))
    line = "no --model given: test; Shows fields; limits: Seen Ohio alone; see geoseg info default"
    assert line in predict(scene, tmp_path / "a", **QUICK).notices
    assert line in plan_prediction(scene, tmp_path / "b").notices
    (result,) = predict_many([scene], tmp_path / "c", **QUICK).results
    assert line in result.notices
    for given in (default, "default"):
        assert line not in predict(scene, tmp_path / "d", model=given, overwrite=True, **QUICK).notices


@pytest.mark.parametrize(("card", "says"), [(CARD, "Shows fields."), (ModelCard(description="Old."), "Old.")])
def test_info_begins_with_what_a_model_is_for(tmp_path, card, says):
    found = describe_model(save_bundle(tmp_path / "m.safetensors", card=card))
    assert next(iter(found.items())) == ("purpose", says)
    assert "encoder_licence" not in found


def test_info_says_where_an_encoder_may_not_be_used_commercially(tmp_path):
    network = NetworkSpec(architecture="unet", encoder="mit_b0", multiple=32)
    found = describe_model(save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"), network=network))
    assert "non-commercial" in found["encoder_licence"]
