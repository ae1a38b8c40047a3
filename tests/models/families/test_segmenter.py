"""Segmenter against its paper."""

from __future__ import annotations

import torch
from support.overfitting import check_overfitting

from geoseg.models.families.building import build_body
from geoseg.models.families.segmenter import FAMILY, MaskTransformer, Segmenter
from geoseg.spec import NetworkSpec


def test_it_has_the_papers_number_of_weights() -> None:
    """334 million with a large transformer and windows of 640 pixels (ADE20K, 150 classes)."""
    with torch.device("meta"):
        spec = NetworkSpec(architecture="segmenter", encoder="tu-vit_large_patch16_384", arguments={"img_size": 640})
        body = build_body(spec, 3, 150)
    assert abs(sum(p.numel() for p in body.parameters()) / 334e6 - 1) < 0.005


def test_the_mask_transformer_has_two_blocks_and_three_projections() -> None:
    """With 384 channels: blocks of 12 d² + 13 d weights, maps of d² + d and twice d², a token for each class."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="segmenter", encoder="tu-vit_small_patch16_384"), 3, 7)
    d = 384
    norms = 2 * d + 2 * 7
    expected = 2 * (12 * d**2 + 13 * d) + (d**2 + d) + 2 * d**2 + 7 * d + norms
    assert sum(p.numel() for p in body.decoder.parameters()) == expected
    assert body.decoder.blocks[0].attn.num_heads == 6


def test_a_mask_is_the_cosine_between_its_patch_and_its_class() -> None:
    torch.manual_seed(0)
    decoder = MaskTransformer(64, classes=5, depth=1).eval()
    seen: list[torch.Tensor] = []
    decoder.mask_norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    tokens = torch.rand(2, 64, 3, 4)
    masks = decoder(tokens)
    assert masks.shape == (2, 5, 3, 4)
    (cosines,) = seen
    assert cosines.shape == (2, 12, 5)
    assert cosines.abs().max() <= 1 + 1e-6
    assert torch.allclose(masks.mean(dim=1), torch.zeros(2, 3, 4), atol=1e-5)  # normalised over the classes


def test_class_tokens_see_the_patches() -> None:
    """A mask depends on what is elsewhere in the window, through its class's token."""
    decoder = MaskTransformer(64, classes=3, depth=2).eval()
    tokens = torch.rand(1, 64, 4, 4)
    other = tokens.clone()
    other[:, :, 3, 3] += 1
    assert not torch.allclose(decoder(tokens)[:, :, 0, 0], decoder(other)[:, :, 0, 0], atol=1e-6)


def test_its_tokens_are_normalised_by_the_last_layer() -> None:
    body = build_body(FAMILY.example("segmenter"), 3, 2).eval()
    assert isinstance(body, Segmenter)
    tokens = body.encode(torch.rand(1, 3, 32, 64)).maps[-1]
    assert tokens.shape == (1, 48, 2, 4)
    assert torch.allclose(tokens.mean(dim=1), torch.zeros(1, 2, 4), atol=1e-5)


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("segmenter"), below=0.5, steps=60, rate=2e-3, cell=32)
