"""The Shunted Transformer against its paper."""

from __future__ import annotations

import math

import pytest
import torch
from support.overfitting import check_overfitting

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body
from geoseg.models.families.encoders.shunted import SIZES, DetailPerceptron, ShuntedAttention, ShuntedTransformer
from geoseg.spec import NetworkSpec

CLASSIFIER = 513_000
"""Weights of the layer for the 1000 classes of ImageNet, which the paper counts."""


@pytest.mark.parametrize(
    ("name", "millions"), [("shunted_tiny", 11.5), ("shunted_small", 22.4), ("shunted_base", 39.6)]
)
def test_it_has_the_papers_number_of_weights(name: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = ShuntedTransformer(SIZES[name])
    count = sum(p.numel() for p in encoder.parameters()) + CLASSIFIER
    assert abs(count / 1e6 / millions - 1) < 0.01


def test_heads_of_one_layer_attend_to_tokens_merged_at_two_scales() -> None:
    """Half of them to squares of 8 × 8 pixels, half to those of 4 × 4, in the first stage."""
    attention = ShuntedAttention(16, heads=2, rates=(8, 4))
    counts = []
    for norm in attention.norms:
        norm.register_forward_hook(lambda module, inputs, output: counts.append(output.shape[1]))
    assert attention(torch.rand(1, 32 * 16, 16), (32, 16)).shape == (1, 32 * 16, 16)
    assert counts == [4 * 2, 8 * 4]


def test_attention_is_that_of_its_definition() -> None:
    """One rate of 1: softmax(Q Kᵀ / √d)(V + LE(V)), head by head."""
    torch.manual_seed(0)
    attention = ShuntedAttention(8, heads=2, rates=(1,))
    tokens = torch.rand(1, 12, 8)
    with torch.inference_mode():
        q = attention.queries(tokens)[0]
        k, v = attention.keys_values[0](tokens)[0].chunk(2, dim=1)
        v = v + attention.enhance[0](v.T.reshape(1, 8, 3, 4))[0].flatten(1).T
        heads = [torch.softmax(q[:, s] @ k[:, s].T / math.sqrt(4), dim=1) @ v[:, s] for s in (slice(4), slice(4, 8))]
        expected = attention.project(torch.cat(heads, dim=1))
        assert torch.allclose(attention(tokens, (3, 4))[0], expected, atol=1e-5)


def test_the_perceptron_sees_the_neighbours_of_a_pixel() -> None:
    perceptron = DetailPerceptron(4, 8)
    tokens = torch.rand(1, 36, 4, requires_grad=True)
    passed = perceptron(tokens, (6, 6))
    (gradient,) = torch.autograd.grad(passed[0, 14].sum(), tokens)
    reached = gradient.abs().sum(dim=2).reshape(6, 6) > 0
    assert reached.nonzero().tolist() == [[row, col] for row in (1, 2, 3) for col in (1, 2, 3)]


@pytest.mark.parametrize("architecture", ["unet", "fpn", "upernet"])
def test_networks_on_any_encoder_take_it(architecture: str) -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture=architecture, encoder="shunted_small"), 5, 2).eval()
        assert body(torch.empty(1, 5, 96, 64)).shape == (1, 2, 96, 64)
        assert list(body.stages) == [5, 0, 64, 128, 256, 512]


def test_a_uniform_image_of_any_size_gives_uniform_maps() -> None:
    body = build_body(NetworkSpec(architecture="unet", encoder="shunted_tiny"), 3, 2).eval()
    with torch.inference_mode():
        *_, fine, _, _, coarse = body.encode(torch.full((1, 3, 160, 96), 0.7)).maps
    for part in (fine, coarse):
        assert torch.allclose(part, part[:, :, :1, :1].expand_as(part), atol=1e-4)


def test_it_overfits_four_windows() -> None:
    spec = NetworkSpec(architecture="unet", encoder="shunted_tiny")
    check_overfitting(spec, below=0.5, steps=25, rate=1e-3)


def test_it_cannot_dilate() -> None:
    with pytest.raises(ModelError, match="maps of a dilated encoder, which Shunted Transformers do not give"):
        build_body(NetworkSpec(architecture="deeplabv3", encoder="shunted_tiny"), 3, 2)
