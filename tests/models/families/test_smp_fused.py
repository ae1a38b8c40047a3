"""Layers that compute in a faster way give what those of segmentation-models-pytorch give, forward and backward."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.decoders.fpn.decoder import MergeBlock
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.encoders.mix_transformer import Attention
from torch import nn

from geoseg.models.families.building import build_body
from geoseg.models.families.smp_fused import FusedAttention, FusedSegformerDecoder, fuse_layers
from geoseg.spec import NetworkSpec


def pair(**arguments: Any) -> tuple[nn.Module, nn.Module]:
    """A SegFormer of smp, and the same with faster layers."""
    torch.manual_seed(0)
    given = {"encoder_name": "mit_b0", "encoder_weights": None, "in_channels": 4, "classes": 3} | arguments
    own = smp.Segformer(**given).eval()
    for layer in own.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -1, 1)
            nn.init.uniform_(layer.weight, 0.5, 2)
    fused = copy.deepcopy(own)
    fuse_layers(fused)
    return own, fused


def kinds(network: nn.Module) -> set[type]:
    return {type(layer) for layer in network.modules()}


@pytest.mark.parametrize(
    "arguments",
    [{}, {"encoder_depth": 4}, {"encoder_depth": 3}, {"encoder_name": "resnet18"}, {"encoder_name": "mit_b1"}],
)
@pytest.mark.parametrize("size", [(64, 96), (160, 32)])
def test_the_logits_are_those_of_smp(arguments: dict[str, Any], size: tuple[int, int]) -> None:
    own, fused = pair(**arguments)
    assert FusedSegformerDecoder in kinds(fused)
    assert not {Attention, SegformerDecoder} & kinds(fused)
    image = torch.randn(2, 4, *size)
    with torch.inference_mode():
        wanted = own(image)
        assert (fused(image) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("policy", ["add", "cat"])
def test_the_merged_pyramid_is_that_of_smp(policy: str) -> None:
    torch.manual_seed(0)
    own = smp.FPN("resnet18", encoder_weights=None, decoder_merge_policy=policy).eval()
    fused = copy.deepcopy(own)
    fuse_layers(fused)
    assert MergeBlock not in kinds(fused)
    image = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(fused(image), own(image), rtol=1e-4, atol=1e-5)


def test_the_gradients_are_those_of_smp() -> None:
    own, fused = pair()
    image = torch.randn(2, 4, 64, 64)
    for network in (own, fused):
        network(image).square().mean().backward()
    wanted = dict(own.named_parameters())
    for name, parameter in fused.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, wanted[name].grad, rtol=1e-3, atol=1e-5)


def test_weights_keep_their_names_and_networks_can_be_copied() -> None:
    own, fused = pair()
    assert own.state_dict().keys() == fused.state_dict().keys()
    copied = pickle.loads(pickle.dumps(copy.deepcopy(fused)))
    assert FusedAttention in kinds(copied)
    image = torch.randn(1, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(copied(image), fused(image))


def test_a_layer_that_was_replaced_is_used() -> None:
    """As one that computes with integers is."""
    own, fused = pair()
    image = torch.randn(1, 4, 64, 64)
    fused.decoder.fuse_stage[0] = nn.Sequential(fused.decoder.fuse_stage[0])
    with torch.inference_mode():
        torch.testing.assert_close(fused(image), own(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["segformer", "unet", "upernet", "fpn", "setr_naive"])
def test_networks_are_built_with_them(architecture: str) -> None:
    encoder = "tu-vit_tiny_patch16_224" if architecture == "setr_naive" else "mit_b0"
    body = build_body(NetworkSpec(architecture=architecture, encoder=encoder, multiple=32), 3, 2)
    assert not {Attention, SegformerDecoder} & kinds(body)
