"""TransUNet against its paper."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting

from geoseg.core.errors import ModelError
from geoseg.models.families.building import build_body
from geoseg.models.families.transunet import FAMILY
from geoseg.spec import NetworkSpec


def test_it_has_the_number_of_weights_that_is_published_for_it() -> None:
    """105.3 million for 9 classes and windows of 224 pixels, by later papers' tables; its own gives none."""
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="transunet", encoder="tu-vit_base_r50_s16_224"), 3, 9)
    assert abs(sum(p.numel() for p in body.parameters()) / 105.3e6 - 1) < 0.005
    assert len(body.encoder.model.blocks) == 12
    assert [len(stage.blocks) for stage in body.encoder.model.patch_embed.backbone.stages] == [3, 4, 9]


def test_its_maps_have_the_channels_and_strides_of_figure_1() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="transunet", encoder="tu-vit_base_r50_s16_224"), 3, 9).eval()
        seen = []
        for step in (body.decoder.enter, *body.decoder.steps):
            step.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
        maps = body.encode(torch.empty(1, 3, 128, 192)).maps
        assert [tuple(part.shape[1:]) for part in maps] == [
            (3, 128, 192), (64, 64, 96), (256, 32, 48), (512, 16, 24), (768, 8, 12),
        ]  # fmt: skip
        body.decoder(maps[1:])
    assert seen == [(512, 8, 12), (256, 16, 24), (128, 32, 48), (64, 64, 96), (16, 128, 192)]


def test_tokens_are_those_of_timms_model() -> None:
    torch.manual_seed(0)
    encoder = build_body(FAMILY.example("transunet"), 3, 2).eval().encoder
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        *_, tokens = encoder(image)
        expected = encoder.model.forward_features(image)[:, 1:]
    assert torch.allclose(tokens.flatten(2).transpose(1, 2), expected, atol=1e-5)


def test_skips_reach_the_decoder_past_the_transformer() -> None:
    body = build_body(FAMILY.example("transunet"), 3, 2).eval()
    maps = [part.detach().requires_grad_() for part in body.encoder(torch.rand(1, 3, 64, 64))]
    gradients = torch.autograd.grad(body.decoder(maps[1:]).sum(), maps[1:])
    assert all(gradient.any() for gradient in gradients)


def test_it_overfits_four_windows() -> None:
    check_overfitting(FAMILY.example("transunet"), below=0.5, steps=25, rate=2e-3)


def test_other_encoders_are_refused_in_a_line() -> None:
    with pytest.raises(
        ModelError, match="does not go with tu-vit_tiny_patch16_224: take encoder tu-vit_base_r50_s16_224 or"
    ):
        build_body(NetworkSpec(architecture="transunet", encoder="tu-vit_tiny_patch16_224"), 3, 2)
