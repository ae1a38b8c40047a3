"""Non-local, criss-cross and dual attention against their papers."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families import pixel_attention
from geoseg.models.families.building import build_body, family_of
from geoseg.models.families.ccnet import CrissCross, Recurrent
from geoseg.models.families.danet import ChannelAttention, PositionAttention
from geoseg.models.families.non_local import NonLocalBlock
from geoseg.models.families.pixel_attention import attend
from geoseg.spec import NetworkSpec

HEADS = ["nonlocal", "danet", "ccnet"]


def example(architecture: str, **arguments: object) -> NetworkSpec:
    spec = family_of(NetworkSpec(architecture=architecture)).example(architecture)
    return spec.model_copy(update={"arguments": {**spec.arguments, **arguments}})


def trained(block: nn.Module) -> nn.Module:
    """A block whose residual branch counts: it begins at zero."""
    for name, parameter in block.named_parameters():
        if name.endswith(("gamma", "alpha", "beta", "out.1.weight")):
            nn.init.ones_(parameter)
    return block.eval()


def reached(block: nn.Module, row: int, col: int) -> Tensor:
    """Which pixels (7, 9) one pixel's output depends on."""
    torch.manual_seed(0)
    maps = torch.randn(1, 16, 7, 9, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(maps)[0, :, row, col].sum(), maps)
    return gradient.abs().sum(dim=1)[0] > 0


@pytest.mark.parametrize("most", [2**24, 2 * 63 * 5])
def test_attention_in_groups_is_attention(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_attention, "MOST_AFFINITIES", most)
    torch.manual_seed(0)
    parts = [torch.randn(2, 63, width, requires_grad=True) for width in (4, 4, 6)]
    wanted = functional.scaled_dot_product_attention(*parts, scale=1.0)
    found = attend(*parts)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(answer.square().sum(), parts) for answer in (found, wanted)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(attend(*parts), wanted)


def test_no_more_affinities_are_in_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_attention, "MOST_AFFINITIES", 1000)
    sizes = []
    softmax = Tensor.softmax
    monkeypatch.setattr(Tensor, "softmax", lambda self, dim: sizes.append(self.numel()) or softmax(self, dim))
    with torch.no_grad():
        attend(torch.rand(2, 50, 3), torch.rand(2, 50, 3), torch.rand(2, 50, 3))
    assert max(sizes) <= 1000
    assert sum(sizes) == 2 * 50 * 50


def test_criss_cross_attention_reaches_row_and_column_and_twice_every_pixel() -> None:
    block = trained(CrissCross(16))
    cross = torch.zeros(7, 9, dtype=torch.bool)
    cross[2] = cross[:, 5] = True
    assert torch.equal(reached(block, 2, 5), cross)
    assert reached(Recurrent(block, 2), 2, 5).all()
    assert torch.equal(reached(Recurrent(block, 1), 2, 5), cross)


def test_criss_cross_attention_is_that_of_its_definition() -> None:
    """Equations 1 and 2, pixel by pixel: h + w - 1 neighbours, the pixel itself once."""
    torch.manual_seed(0)
    block, maps = trained(CrissCross(16)), torch.randn(1, 16, 4, 5)
    with torch.inference_mode():
        q, k, v = (embed(maps)[0] for embed in (block.query, block.key, block.value))
        wanted = maps.clone()
        for y in range(4):
            for x in range(5):
                places = [(y, col) for col in range(5)] + [(row, x) for row in range(4) if row != y]
                shares = torch.stack([q[:, y, x] @ k[:, r, c] for r, c in places]).softmax(dim=0)
                wanted[0, :, y, x] += sum(s * v[:, r, c] for s, (r, c) in zip(shares, places, strict=True))
        torch.testing.assert_close(block(maps), wanted)


def test_recurrence_shares_its_weights() -> None:
    bodies = [build_body(example("ccnet", recurrence=times), 3, 2) for times in (1, 2)]
    one, two = (sum(p.numel() for p in body.parameters()) for body in bodies)
    assert one == two
    assert build_body(example("ccnet"), 3, 2).decoder.context.times == 2


@pytest.mark.parametrize("block", [NonLocalBlock(16), CrissCross(16), PositionAttention(16), ChannelAttention()])
def test_a_block_begins_as_the_identity(block: nn.Module) -> None:
    maps = torch.randn(2, 16, 5, 6)
    torch.testing.assert_close(block(maps), maps)


@pytest.mark.parametrize("pairwise", ["embedded_gaussian", "gaussian", "dot_product"])
def test_non_local_attention_reaches_every_pixel(pairwise) -> None:
    assert reached(trained(NonLocalBlock(16, pairwise)), 2, 5).all()


@pytest.mark.parametrize("pairwise", ["embedded_gaussian", "gaussian", "dot_product"])
def test_non_local_attention_is_that_of_its_definition(pairwise) -> None:
    """Equations 1 to 4 and 6."""
    torch.manual_seed(0)
    block, maps = trained(NonLocalBlock(16, pairwise)), torch.randn(1, 16, 3, 4)
    with torch.inference_mode():
        theta, phi, g = (embed(maps)[0].flatten(1) for embed in (block.theta, block.phi, block.g))
        products = theta.T @ phi
        shares = products / 12 if pairwise == "dot_product" else products.exp() / products.exp().sum(1, keepdim=True)
        y = (shares @ g.T).T.reshape(1, -1, 3, 4)
        torch.testing.assert_close(block(maps), block.out(y) + maps, atol=1e-4, rtol=1e-4)


def test_position_attention_reaches_every_pixel() -> None:
    assert reached(trained(PositionAttention(16)), 2, 5).all()


def test_channel_attention_is_that_of_its_definition() -> None:
    """Equations 3 and 4; in 16 bits as exactly as in 32."""
    torch.manual_seed(0)
    block, maps = trained(ChannelAttention()), 0.3 * torch.randn(1, 6, 3, 4)
    rows = maps[0].flatten(1)
    products = torch.stack([torch.stack([(a * b).sum() for b in rows]) for a in rows])
    wanted = (products.softmax(dim=1) @ rows).reshape(maps.shape) + maps
    with torch.inference_mode():
        torch.testing.assert_close(block(maps), wanted)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(block(maps), wanted)


def test_dual_attention_has_the_papers_number_of_weights() -> None:
    """23.9 million on 2048 channels: as Yuan et al. (OCR, ECCV 2020) count it, who compare heads."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="danet", encoder="tu-resnet101"), 3, 19)
    assert sum(p.numel() for p in body.decoder.parameters()) / 1e6 == pytest.approx(23.9, abs=0.05)
    assert body.channels == 512


def test_both_branches_of_dual_attention_classify_in_training() -> None:
    body = build_body(example("danet"), 3, 4)
    outputs = [torch.rand(2, 16, 8, 8, requires_grad=True) for _ in body.auxiliary_parts]
    assert len(outputs) == 2
    labels = torch.randint(0, 4, (2, 64, 64))
    body.auxiliary_loss(outputs, torch.zeros(2, 4, 64, 64), labels, functional.cross_entropy).backward()
    assert all(one.grad.abs().sum() > 0 for one in outputs)
    assert not build_body(example("danet", branch_loss=0), 3, 4).auxiliary_parts


@pytest.mark.parametrize("architecture", HEADS)
def test_the_last_map_has_a_stride_of_8_by_dilation(architecture: str) -> None:
    body = build_body(example(architecture), 3, 2).eval()
    with torch.inference_mode():
        features = body.encode(torch.rand(1, 3, 64, 96))
        assert features.maps[-1].shape[-2:] == (8, 12)
        assert body.decode(features).shape == (1, 16, 8, 12)
        assert body(torch.rand(1, 3, 64, 96)).shape == (1, 2, 64, 96)


@pytest.mark.parametrize("architecture", HEADS)
def test_it_overfits_four_windows(architecture: str) -> None:
    check_overfitting(example(architecture), below=0.4, steps=50)


@pytest.mark.parametrize("architecture", HEADS)
def test_uniform_windows_get_uniform_logits(architecture: str) -> None:
    body = trained(build_body(example(architecture), 3, 4))
    with torch.inference_mode():
        logits = body(torch.tensor([0.7, -1.2, 0.4]).view(1, 3, 1, 1).expand(1, 3, 96, 128).contiguous())
    torch.testing.assert_close(logits, logits[:, :, :1, :1].expand_as(logits), atol=1e-5, rtol=1e-4)


def test_an_encoder_that_cannot_dilate_is_answered_with_what_helps() -> None:
    with pytest.raises(ModelError, match=r"which VGG encoders do not give.*or give encoder_output_stride: 32"):
        build_body(NetworkSpec(architecture="ccnet", encoder="vgg11"), 3, 2)
    with pytest.raises(ModelError, match="unknown encoder 'resnet19'"):
        build_body(NetworkSpec(architecture="ccnet", encoder="resnet19"), 3, 2)


def test_an_encoder_that_cannot_dilate_is_taken_without_dilation() -> None:
    with torch.device("meta"):
        body = build_body(example("ccnet", encoder_output_stride=32).model_copy(update={"encoder": "vgg11"}), 3, 2)
    assert body(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 2, 64, 96)
