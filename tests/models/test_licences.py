"""Encoders and models that may not be used commercially say so; others say nothing."""

import pytest
from support.models import make_spec, save_bundle

from geoseg.models.families.licences import UNKNOWN, inherited, licence_notice, non_commercial
from geoseg.models.header import read_spec
from geoseg.spec import ModelCard, NetworkSpec


@pytest.mark.parametrize(
    ("encoder", "weights", "licence"),
    [
        ("mit_b0", None, "NVIDIA Source Code License-NC"),
        ("mit_b2", "imagenet", "NVIDIA Source Code License-NC"),
        ("resnext101_32x8d", "instagram", "CC BY-NC 4.0"),
        ("resnet18", "ssl", "CC BY-NC 4.0"),
        ("resnet18", "imagenet", None),
        ("tu-convnextv2_atto", "fcmae_ft_in1k", "cc-by-nc-4.0"),
        ("tu-convnextv2_atto.fcmae", "imagenet", "cc-by-nc-4.0"),
        ("tu-convnextv2_atto", None, None),
        ("tu-resnet18", "imagenet", None),
        ("tu-tf_efficientnet_lite2", "imagenet", None),
        ("tu-resnet18", "weights.pth", None),
        ("", None, None),
    ],
)
def test_what_an_encoder_may_be_used_for(encoder, weights, licence):
    architecture = "unet" if encoder else "pointwise"
    found = non_commercial(NetworkSpec(architecture=architecture, encoder=encoder), weights)
    if licence is None:
        assert found is None
    else:
        assert found is not None
        assert f"{licence}, for non-commercial use only" in found


NC = ModelCard(licence="CC-BY-NC-4.0")
ANOTHERS = ModelCard(training={"imported": {"source": "x"}})


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (NC, "CC-BY-NC-4.0; what is made with it is for non-commercial use only"),
        (ANOTHERS, UNKNOWN),
        (ModelCard(licence=f"{UNKNOWN} the weights of x are"), UNKNOWN),
        (ModelCard(licence="MIT", training={"imported": {"source": "x"}}), None),
        (ModelCard(licence="CC-BY-4.0"), None),
        (ModelCard(), None),
    ],
)
def test_what_a_model_may_be_used_for(card, said):
    found = licence_notice(make_spec(card=card))
    assert (found is None) if said is None else (found is not None and said in found)


def test_an_encoder_restricts_a_model_whose_card_does_not_say_so():
    network = NetworkSpec(architecture="unet", encoder="mit_b0")
    found = licence_notice(make_spec(network=network, bands=("red", "green", "blue")))
    assert found is not None
    assert "NVIDIA" in found


def test_a_model_that_learns_on_says_so_of_the_one_it_starts_from(tmp_path):
    for card, said in ((NC, "CC-BY-NC-4.0, for non-commercial use only"), (ANOTHERS, UNKNOWN), (ModelCard(), None)):
        start = save_bundle(tmp_path / "start.safetensors", card=card)
        spec = read_spec(start)
        found = inherited(spec)
        assert (found is None) if said is None else (found is not None and said in found)
        if found is not None:
            again = licence_notice(spec.model_copy(update={"card": ModelCard(licence=found)}))
            assert again is not None
            assert said.split(",")[0] in again
