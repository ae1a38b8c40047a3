"""Encoders that may not be used commercially say so; others say nothing."""

import pytest

from geoseg.models.families.licences import non_commercial
from geoseg.spec import NetworkSpec


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
