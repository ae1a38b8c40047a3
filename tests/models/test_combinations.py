"""Which encoders go with which architectures is known without building them, and true."""

from __future__ import annotations

import re
from itertools import combinations as pairs

import pytest
import segmentation_models_pytorch as smp
import timm
import torch

from geoseg.core.errors import ModelError
from geoseg.models.families import FAMILIES
from geoseg.models.families.any_encoder import build_encoder
from geoseg.models.families.building import build_body, check_network
from geoseg.models.families.combinations import (
    EXAMPLES,
    KINDS,
    NEAREST,
    NEEDS,
    OF_SMP,
    WITHOUT,
    check_combination,
    encoder_arguments,
    kind_of,
)
from geoseg.models.meta_network import meta_device
from geoseg.spec import NetworkSpec

ANSWER = re.compile(r"take encoder (?P<encoder>[\w-]+), or (?P<architecture>\w+) with (?P<same>[\w-]+)$")
SIZES = [(64, 64), (67, 99), (250, 256), (1, 5)]
FIXED = (
    "tu-maxvit",
    "tu-maxxvit",
    "tu-coat",
    "tu-hiera",
    "tu-mixer",
    "tu-gmlp",
    "tu-cait",
    "tu-convit",
    "tu-beit",
)
"""Encoders that take images of one size alone, which is found when the network is run."""
UNPADDED = ("tu-inception_v", "tu-inception_resnet", "tu-legacy_xception")
"""Encoders whose convolutions are not padded: the sides of their maps are no fractions of the image's."""
SMALLEST = {
    "densenet": "densenet121",
    "shunted_": "shunted_tiny",
    "tu-convnext": "tu-convnext_atto",
    "tu-deit": "tu-deit_tiny_patch16_224",
    "tu-dla": "tu-dla34",
    "tu-dpn": "tu-dpn68",
    "tu-eva": "tu-eva02_tiny_patch14_224",
    "tu-hrnet": "tu-hrnet_w18_small",
    "tu-resnet": "tu-resnet18",
    "tu-swin_": "tu-swin_tiny_patch4_window7_224",
    "tu-swinv2_": "tu-swinv2_tiny_window8_256",
    "tu-vit_": "tu-vit_tiny_patch16_224",
    "vgg": "vgg11",
}
"""Of kinds whose first encoder by name is a large one."""


def one_of(beginning: str) -> str:
    """An encoder whose name begins so."""
    listed = [f"tu-{name}" for name in timm.list_models()] if beginning.startswith("tu-") else smp.encoders.encoders
    return SMALLEST.get(beginning) or sorted(name for name in listed if name.startswith(beginning))[0]


def build_meta(network: NetworkSpec):
    with meta_device():
        return build_body(network, 12, 3).eval()


def test_each_encoder_is_of_one_kind_at_most() -> None:
    names = [name for kind in KINDS for name in kind.names]
    assert not [(a, b) for a, b in pairs(names, 2) if a.startswith(b) or b.startswith(a)]
    assert kind_of("resnet34") is OF_SMP
    assert kind_of("tu-a_model_of_next_year") is None
    assert kind_of("") is None


@pytest.mark.parametrize("need", EXAMPLES)
def test_examples_give_what_is_needed(need: str) -> None:
    for architecture in (name for name, its_need in NEEDS.items() if its_need == need):
        check_combination(NetworkSpec(architecture=architecture, encoder=EXAMPLES[need]))


@pytest.mark.parametrize(
    ("architecture", "encoder", "message"),
    [
        ("deeplabv3plus", "vgg16_bn", "maps of a dilated encoder, which VGG encoders do not give"),
        ("PAN", "tu-hrnet_w18", "take encoder resnet34, or fpn with tu-hrnet_w18"),
        ("unet", "tu-vit_small_patch16_224", "maps of several strides, which vision transformers do not give"),
        ("dpt", "resnet34", "the tokens of a vision transformer, which convolutional encoders of smp do not give"),
        (
            "dpt",
            "tu-swin_tiny_patch4_window7_224",
            "take encoder tu-vit_small_patch16_224, or upernet with tu-swin",
        ),
        ("unetplusplus", "mit_b0", "does not go with mit_b0: take unet with it, or encoder resnet34"),
        ("linknet", "mit_b5", "does not go with mit_b5: take unet with it"),
        ("dpt", "tu-vit_small_patch14_dinov2", "give network.arguments {patch_size: 16}"),
        ("fpn", "resnet43", "unknown encoder 'resnet43', did you mean resnet34"),
    ],
)
def test_what_cannot_work_is_refused_with_the_nearest_that_does(architecture: str, encoder: str, message: str) -> None:
    network = NetworkSpec(architecture=architecture, encoder=encoder)
    with pytest.raises(ModelError, match=re.escape(message)) as refused:
        check_network(network)
    with pytest.raises(ModelError, match=re.escape(message)):
        build_body(network, 3, 2)
    assert "\n" not in str(refused.value)
    if found := ANSWER.search(str(refused.value)):
        check_combination(network.model_copy(update={"encoder": found["encoder"]}))
        check_combination(network.model_copy(update={"architecture": found["architecture"]}))
        assert found["same"] == encoder


def test_architectures_nearby_take_what_the_others_refuse() -> None:
    for architecture, other in NEAREST.items():
        assert NEEDS[other] == "maps"
        assert other not in WITHOUT
        assert architecture in NEEDS


def test_a_spec_has_the_last_word_on_arguments() -> None:
    name = "tu-vit_tiny_patch16_224"
    assert encoder_arguments(name) == {"dynamic_img_size": True}
    small = {"embed_dim": 48, "num_heads": 3}
    with meta_device():
        fixed = NetworkSpec(architecture="dpt", encoder=name, arguments=small | {"dynamic_img_size": False})
        body = build_body(fixed, 3, 2)
    assert body.encoder.model.dynamic_img_size is False


@pytest.mark.parametrize("bands", [3, 12])
def test_hrnets_branches_may_be_taken_as_they_are(bands: int) -> None:
    with meta_device():
        raw = NetworkSpec(architecture="fpn", encoder="tu-hrnet_w18_small", arguments={"feature_location": ""})
        assert build_body(raw, bands, 2).stages == [bands, 64, 16, 32, 64, 128]


@pytest.mark.parametrize("patch", [8, 14, 16, 32])
def test_dpt_takes_windows_of_any_size_with_patches_of_each_side(patch: int) -> None:
    names = {8: "tu-vit_small_patch8_224", 14: "tu-vit_small_patch14_dinov2", 32: "tu-vit_base_patch32_224"}
    arguments = {"embed_dim": 48, "num_heads": 3} | ({"patch_size": 16} if patch == 14 else {})
    encoder = names.get(patch, "tu-vit_tiny_patch16_224")
    body = build_meta(NetworkSpec(architecture="dpt", encoder=encoder, arguments=arguments))
    assert body.sides.multiple == 32
    with meta_device(), torch.inference_mode():
        assert body(torch.empty(1, 12, 67, 130)).shape == (1, 3, 67, 130)


@pytest.mark.parametrize("encoder", ["tu-swin_tiny_patch4_window7_224", "tu-hrnet_w18_small", "tu-inception_v3"])
def test_a_u_net_pads_for_encoders_that_do_not_take_any_size(encoder: str) -> None:
    body = build_meta(NetworkSpec(architecture="unet", encoder=encoder))
    with meta_device(), torch.inference_mode():
        assert body(torch.empty(1, 12, 67, 130)).shape == (1, 3, 67, 130)


@pytest.mark.slow
@pytest.mark.parametrize("beginning", [name for kind in (OF_SMP, *KINDS) for name in kind.names or ("resnet18",)])
@pytest.mark.parametrize("architecture", NEEDS)
def test_the_table_says_what_is_true(architecture: str, beginning: str) -> None:
    if FAMILIES.get(architecture).info(architecture).source.startswith("transformers"):
        pytest.importorskip("transformers")
    encoder = one_of(beginning)
    arguments = {"patch_size": 16} if architecture == "dpt" and "patch14" in encoder else {}
    if architecture == "gated_scnn" and (kind_of(encoder) or OF_SMP).gives == "maps":
        arguments = {"encoder_output_stride": 32}  # not dilated
    network = NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)
    try:
        check_combination(network)
    except ModelError:
        need = NEEDS[architecture]
        if need == "dilation":
            with pytest.raises(ModelError, match="cannot build"), meta_device():
                build_encoder(network.model_copy(update={"architecture": "of its own"}), 3, output_stride=16)
        return
    body = build_meta(network)
    if network.encoder.startswith(FIXED) or (architecture != "unet" and beginning.startswith(UNPADDED)):
        return
    for size in SIZES:
        with meta_device(), torch.inference_mode():
            assert body(torch.empty(1, 12, *size)).shape == (1, 3, *size)
