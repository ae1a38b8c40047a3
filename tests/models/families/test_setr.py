"""SETR against its paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from support.models import make_spec
from support.overfitting import check_overfitting
from torch import nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.families import FAMILIES
from geoseg.models.families.building import build_body
from geoseg.models.families.setr import FAMILY, MultiLevel, Setr
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.spec import NetworkSpec

NAMES = ["setr_naive", "setr_pup", "setr_mla"]


def at_full_size(name: str, encoder: str) -> nn.Module:
    arguments: Any = {"img_size": 768}  # the windows of Cityscapes in the paper, 48 × 48 positions
    with torch.device("meta"):
        return build_body(NetworkSpec(architecture=name, encoder=encoder, arguments=arguments), 3, 19)


@pytest.mark.parametrize(
    ("name", "encoder", "millions"),
    [
        ("setr_naive", "tu-vit_large_patch16_384", 305.67),
        ("setr_mla", "tu-vit_large_patch16_384", 310.57),
        ("setr_naive", "tu-vit_base_patch16_384", 87.69),
        ("setr_mla", "tu-vit_base_patch16_384", 92.59),
    ],
)
def test_it_has_the_papers_number_of_weights(name: str, encoder: str, millions: float) -> None:
    """Table 2, without auxiliary heads; half a percent for the tokens and layers that may have been counted or not."""
    body = at_full_size(name, encoder)
    count = sum(p.numel() for part, p in body.named_parameters() if not part.startswith("auxiliary"))
    assert abs(count / 1e6 / millions - 1) < 0.005


@pytest.mark.parametrize(("name", "blocks"), [("setr_pup", [10, 15, 20, 24]), ("setr_mla", [6, 12, 18, 24])])
def test_maps_come_from_the_papers_blocks_of_24(name: str, blocks: list[int]) -> None:
    body = at_full_size(name, "tu-vit_large_patch16_384")
    assert [index + 1 for index in body.encoder.blocks] == blocks


@pytest.mark.parametrize(("name", "stride"), [("setr_naive", 16), ("setr_pup", 2), ("setr_mla", 4)])
def test_its_decoder_has_the_stride_of_its_figure(name: str, stride: int) -> None:
    body = build_body(FAMILY.example(name), 3, 2).eval()
    with torch.inference_mode():
        decoded = body.decode(body.encode(torch.rand(1, 3, 64, 96)))
    assert decoded.shape == (1, body.channels, 64 // stride, 96 // stride)


def test_upsampling_after_the_classifier_is_that_before_it() -> None:
    """Progressive upsampling's last step may be exchanged with the 1 × 1 convolution that follows it."""
    torch.manual_seed(0)
    head = build_body(FAMILY.example("setr_pup"), 3, 2).head
    decoded = torch.rand(1, 16, 8, 8)
    expected = head[0](functional.interpolate(decoded, scale_factor=2.0, mode="bilinear"))
    assert torch.allclose(head(decoded), expected, atol=1e-6)


def test_deeper_streams_are_added_to_shallower_ones() -> None:
    decoder = MultiLevel(8, 8).eval()
    maps = [torch.rand(1, 8, 4, 4, requires_grad=True) for _ in range(4)]
    streams = decoder(maps).split(4, dim=1)
    for number, stream in enumerate(streams):
        gradients = torch.autograd.grad(stream.sum(), maps, retain_graph=True)
        assert [bool(gradient.any()) for gradient in gradients] == [False] * number + [True] * (4 - number)


def test_windows_of_other_sizes_than_the_transformers_are_taken() -> None:
    body = build_body(FAMILY.example("setr_naive"), 5, 2).eval()
    with torch.inference_mode():
        assert body(torch.rand(1, 5, 48, 224)).shape == (1, 2, 48, 224)


@pytest.mark.parametrize(("name", "heads"), [("setr_naive", 3), ("setr_pup", 4), ("setr_mla", 4)])
def test_auxiliary_heads_learn_from_their_blocks(name: str, heads: int) -> None:
    body = build_body(FAMILY.example(name), 3, 2)
    assert isinstance(body, Setr)
    assert len(body.auxiliary_heads) == heads
    maps = body.encoder(torch.rand(2, 3, 64, 64))
    body.auxiliary_loss([maps], torch.zeros(()), torch.zeros(2, 64, 64).long(), functional.cross_entropy).backward()
    assert all(p.grad is not None for p in body.auxiliary_heads.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_it_overfits_four_windows(name: str) -> None:
    """Cells are as large as two patches: the naive decoder cannot show less."""
    check_overfitting(FAMILY.example(name), below=0.5, steps=60, rate=2e-3, cell=32)


@pytest.mark.parametrize("name", ["setr_naive", "segmenter", "structtoken", "transunet"])
def test_it_starts_from_a_file_of_timms_weights(name: str, tmp_path: Path) -> None:
    network = FAMILIES.get(name).example(name)
    spec = make_spec(bands=("red", "green", "blue", "nir"), network=network)
    own = FAMILIES.get(name).Settings.known_settings()
    arguments = {key: value for key, value in network.arguments.items() if key not in own}
    given = timm.create_model(network.encoder.removeprefix("tu-"), **arguments).state_dict()
    torch.save(given, tmp_path / "vit.pth")
    built = build_network(spec)
    load_encoder_weights(built, spec, str(tmp_path / "vit.pth"))
    found = built.body.encoder.model.state_dict()
    (first,) = (key for key, tensor in found.items() if tensor.shape != given[key].shape)
    assert torch.equal(found[first], torch.cat([given[first], torch.zeros_like(given[first][:, :1])], dim=1))
    assert all(torch.equal(tensor, given[key]) for key, tensor in found.items() if key != first)


def test_other_encoders_are_refused_in_a_line() -> None:
    with pytest.raises(
        ModelError, match="setr_pup takes the tokens of a vision transformer, which ResNets do not give"
    ):
        build_body(NetworkSpec(architecture="setr_pup", encoder="tu-resnet18"), 3, 2)
    with pytest.raises(ModelError, match=r"cannot build.*several strides: it takes vision transformers of timm"):
        build_body(NetworkSpec(architecture="setr_pup", encoder="tu-regnety_002"), 3, 2)
