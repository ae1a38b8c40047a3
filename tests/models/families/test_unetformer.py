"""UNetFormer against its paper."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body
from geoseg.models.families.unetformer import FAMILY, GlobalLocalBlock, WeightedSum, cross_shaped
from geoseg.models.families.window_attention import RelativeBiasAttention
from geoseg.spec import NetworkSpec


def test_it_has_the_papers_number_of_weights() -> None:
    """11.7 million with ResNet-18, of which the encoder has 11.2 (rounded to 0.1 million each)."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="unetformer", encoder="resnet18"), 3, 6)
    used_in_prediction = [p for name, p in body.named_parameters() if not name.startswith("auxiliary")]
    assert abs(sum(p.numel() for p in used_in_prediction) - 11.7e6) < 0.15e6


def test_its_blocks_see_maps_of_64_channels_at_strides_32_16_and_8() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="unetformer", encoder="resnet18"), 3, 6)
        seen = []
        for block in body.auxiliary_parts:
            block.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
        decoded = body.decode(body.encode(torch.empty(1, 3, 256, 512)))
    assert seen == [(1, 64, 8, 16), (1, 64, 16, 32), (1, 64, 32, 64)]
    assert decoded.shape == (1, 64, 64, 128)


def test_attention_is_confined_to_windows_and_the_cross_joins_them() -> None:
    torch.manual_seed(0)
    attention = RelativeBiasAttention(8, heads=2, window=4)
    values = torch.rand(1, 8, 8, 8, requires_grad=True)
    attended = attention(values)
    (gradient,) = torch.autograd.grad(attended[0, :, 1, 1].sum(), values, retain_graph=True)
    reached = gradient.abs().sum(dim=1)[0] > 0
    assert reached[:4, :4].all()
    assert not reached[4:].any()
    assert not reached[:, 4:].any()
    (gradient,) = torch.autograd.grad(cross_shaped(attended, 4)[0, :, 3, 3].sum(), values)
    reached = gradient.abs().sum(dim=1)[0] > 0
    assert reached[4:, :4].any()
    assert reached[:4, 4:].any()
    assert not reached[4:, 4:].any()


def test_attention_is_that_of_its_definition() -> None:
    """One head and one window: softmax(q kᵀ / √d + b) v, with a bias for each offset."""
    torch.manual_seed(0)
    attention = RelativeBiasAttention(4, heads=1, window=2)
    values = torch.rand(1, 4, 2, 2)
    q, k, v = attention.to_qkv(values).flatten(2)[0].T.split(4, dim=1)
    bias = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            down, across = i // 2 - j // 2 + 1, i % 2 - j % 2 + 1
            bias[i, j] = attention.bias[3 * down + across, 0]
    expected = torch.softmax(q @ k.T / 2 + bias, dim=1) @ v
    assert torch.allclose(attention(values)[0].flatten(1).T, expected, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 3)])
def test_a_uniform_map_of_any_size_stays_uniform(size: tuple[int, int]) -> None:
    body = build_body(FAMILY.example("unetformer"), 3, 2).eval()
    block = body.auxiliary_parts[0]
    assert isinstance(block, GlobalLocalBlock)
    with torch.inference_mode():
        passed = block(torch.rand(1, 16, 1, 1).expand(-1, -1, *size))
    assert passed.shape[-2:] == size
    assert torch.allclose(passed, passed[:, :, :1, :1].expand_as(passed), atol=1e-5)


def test_the_weighted_sum_is_between_both_maps() -> None:
    weighted = WeightedSum()
    assert weighted(torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 1, 1)).item() == 2
    weighted.alpha.data.fill_(1.0)
    assert weighted(torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 1, 1)).item() == 3


def test_the_auxiliary_head_learns_from_the_blocks() -> None:
    body = build_body(FAMILY.example("unetformer"), 3, 2)
    maps = [torch.rand(2, 16, side, side, requires_grad=True) for side in (2, 4, 8)]
    labels = torch.randint(0, 2, (2, 64, 64))
    loss = body.auxiliary_loss(maps, torch.zeros(2, 2, 64, 64), labels, functional.cross_entropy)
    loss.backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in maps)


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("unetformer"), below=0.25, steps=60)


def test_wrong_arguments_are_answered_in_a_line() -> None:
    with pytest.raises(ModelError, match="has no argument 'windows', did you mean window"):
        build_body(NetworkSpec(architecture="unetformer", encoder="resnet18", arguments={"windows": 4}), 3, 2)
    with pytest.raises(ModelError, match="decoder_channels must be a multiple of decoder_heads"):
        build_body(NetworkSpec(architecture="unetformer", encoder="resnet18", arguments={"decoder_channels": 60}), 3, 2)
