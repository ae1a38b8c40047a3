"""Fully convolutional networks against Long et al. 2015."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting
from torch import nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body, check_network
from geoseg.models.families.fcn import FAMILY, FcnBody
from geoseg.models.families.fcn_layers import Bilinear
from geoseg.models.padding import replicate_edges
from geoseg.spec import NetworkSpec

CLASSES = 21
"""Of PASCAL VOC."""


def fcn(architecture: str = "fcn8s", encoder: str = "vgg16", **arguments: object) -> NetworkSpec:
    return NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)


def on_meta(network: NetworkSpec) -> FcnBody:
    with torch.device("meta"):
        body = build_body(network, 3, CLASSES)
    assert isinstance(body, FcnBody)
    return body


def millions(module: nn.Module) -> float:
    return sum(p.numel() for p in module.parameters() if p.requires_grad) / 1e6


@pytest.mark.parametrize(("encoder", "papers"), [("vgg16", 134), ("alexnet", 57)])
def test_it_has_the_papers_number_of_weights(encoder: str, papers: int) -> None:
    """Table 1, in whole millions."""
    assert round(millions(on_meta(fcn("fcn32s", encoder)))) == papers


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_its_transposed_convolution_begins_as_bilinear_interpolation(factor: int) -> None:
    image = torch.randn(2, 3, 5, 6)
    layer = Bilinear(3, factor)
    wanted = functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    inner = (..., slice(factor, -factor), slice(factor, -factor))
    with torch.inference_mode():
        torch.testing.assert_close(layer(image)[inner], wanted[inner])
        torch.testing.assert_close(replicate_edges(layer).eval()(image), wanted)


@pytest.mark.parametrize(("architecture", "stride", "skips"), [("fcn32s", 32, 0), ("fcn16s", 16, 1), ("fcn8s", 8, 2)])
def test_scores_have_the_stride_of_its_name(architecture: str, stride: int, skips: int) -> None:
    body = on_meta(fcn(architecture))
    decoded = body.decode(body.encode(torch.empty(1, 3, 64, 128, device="meta")))
    assert decoded.shape == (1, CLASSES, 64 // stride, 128 // stride)
    assert body.head(decoded).shape == (1, CLASSES, 64, 128)
    assert len(body.decoder.skips) == skips


def test_skips_of_vgg_are_pool4_and_pool3() -> None:
    body = on_meta(fcn())
    assert [skip.in_channels for skip in body.decoder.skips] == [512, 256]


def test_skips_of_vgg_hold_the_values_of_its_poolings() -> None:
    torch.manual_seed(0)
    body = build_body(fcn(encoder="vgg11", channels=8), 3, 2).eval()
    assert isinstance(body, FcnBody)
    values = image = torch.rand(1, 3, 64, 64)
    pooled = []
    with torch.inference_mode():
        for layer in body.encoder.features:
            values = layer(values)
            pooled += [values] if isinstance(layer, nn.MaxPool2d) else []
        found = body.deepest_first(body.encode(image).maps)
    for one, wanted in zip(found, pooled[:1:-1], strict=True):
        torch.testing.assert_close(one, wanted)


def test_fully_connected_layers_became_convolutions() -> None:
    _, fc6, _, _, _, fc7, *_, score = on_meta(fcn()).decoder.deepest
    assert (fc6.kernel_size, fc6.in_channels, fc6.out_channels) == ((7, 7), 512, 4096)
    assert (fc7.kernel_size, fc7.out_channels, score.out_channels) == ((1, 1), 4096, CLASSES)
    assert len(on_meta(fcn(encoder="tu-resnet18")).decoder.deepest) == 1


def test_it_begins_as_the_next_coarser_network() -> None:
    """Section 4.2: the weights on pool4 and pool3 begin at zero."""
    torch.manual_seed(0)
    body = build_body(FAMILY.example("fcn8s"), 3, 4).eval()
    with torch.inference_mode():
        maps = body.encode(torch.rand(1, 3, 64, 96))
        coarse = body.decoder.deepest(maps.maps[-1])
        wanted = functional.interpolate(
            functional.interpolate(coarse, scale_factor=2, mode="bilinear"), scale_factor=2, mode="bilinear"
        )
        torch.testing.assert_close(body.decode(maps), wanted)


def test_its_last_upsampling_stays_bilinear_and_the_others_learn() -> None:
    body = build_body(FAMILY.example("fcn8s"), 3, 4)
    assert [p.requires_grad for p in body.head.parameters()] == [False]
    assert all(p.requires_grad for p in body.decoder.parameters())


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("fcn8s"), below=0.4, steps=60)


def test_a_misspelt_argument_is_answered_with_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"fcn8s vgg16 has no argument 'chanels', did you mean channels"):
        check_network(fcn(chanels=8))
