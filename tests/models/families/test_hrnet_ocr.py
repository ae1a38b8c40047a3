"""HRNetV2's head and object-contextual representations against their papers."""

from __future__ import annotations

import pytest
import torch
from support.overfitting import check_overfitting
from torch.nn import functional

from geoseg.models.families.body import Body
from geoseg.models.families.building import build_body, family_of
from geoseg.models.families.ocr import ObjectContext
from geoseg.spec import NetworkSpec

W48 = "tu-hrnet_w48"


def spec(architecture: str, encoder: str, **arguments: object) -> NetworkSpec:
    return NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)


def on_meta(architecture: str, encoder: str, **arguments: object) -> Body:
    with torch.device("meta"):
        return build_body(spec(architecture, encoder, **arguments), 3, 19)


def example(architecture: str) -> NetworkSpec:
    return family_of(NetworkSpec(architecture=architecture)).example(architecture)


def millions(module: torch.nn.Module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_hrnet_has_the_papers_number_of_weights() -> None:
    """65.9 million: HRNetV2-W48 for the 19 classes of Cityscapes."""
    assert millions(on_meta("hrnetv2", W48)) == pytest.approx(65.9, abs=0.05)


def test_hrnet_represents_pixels_by_15_times_its_width_at_stride_4() -> None:
    body = on_meta("hrnetv2", W48)
    assert list(body.stages[2:]) == [48, 96, 192, 384]
    assert body.channels == 720
    assert body.decode(body.encode(torch.empty(1, 3, 64, 96, device="meta"))).shape == (1, 720, 16, 24)


def test_the_head_takes_other_encoders() -> None:
    body = on_meta("hrnetv2", "tu-convnext_atto", channels=64)
    assert body(torch.empty(2, 3, 64, 96, device="meta")).shape == (2, 19, 64, 96)


def test_ocr_has_the_papers_number_of_weights() -> None:
    """10.5 million on 2048 channels, without the coarse scores: the table that compares complexities."""
    decoder = on_meta("ocr", "tu-resnet101").decoder
    assert millions(decoder.pixels) + millions(decoder.ocr) == pytest.approx(10.5, abs=0.05)


def test_ocr_takes_the_branches_of_hrnet_and_the_last_two_stages_of_resnet() -> None:
    """Section 3.3."""
    hrnet, resnet = on_meta("ocr", W48), on_meta("ocr", "tu-resnet101")
    image = torch.empty(1, 3, 64, 96, device="meta")
    assert hrnet.decode(hrnet.encode(image)).shape == (1, 512, 16, 24)
    assert resnet.decode(resnet.encode(image)).shape == (1, 512, 8, 12)
    assert (hrnet.decoder.sources.channels, resnet.decoder.sources.channels) == ((720, 720), (1024, 2048))


def test_object_context_is_that_of_its_definition() -> None:
    """Section 3.2, with the features of each region written out."""
    torch.manual_seed(0)
    module, pixels, scores = ObjectContext(8, 4).eval(), torch.rand(1, 8, 3, 5), 3 * torch.randn(1, 2, 3, 5)
    with torch.inference_mode():
        x = pixels[0].flatten(1)
        m = [one.flatten().exp() / one.exp().sum() for one in scores[0]]
        f = torch.stack([(share * x).sum(dim=1) for share in m], dim=1)  # (8, 2)
        phi, psi, delta = (
            module.phi(pixels)[0].flatten(1),
            module.psi(f[None, :, :, None])[0, ..., 0],
            module.delta(f[None, :, :, None])[0, ..., 0],
        )
        w = (phi.T @ psi / 2).softmax(dim=1)
        y = module.rho((delta @ w.T).reshape(1, 4, 3, 5))
        torch.testing.assert_close(module(pixels, scores), module.g(torch.cat([pixels, y], dim=1)))


def test_a_pixel_receives_what_is_far_away_by_way_of_its_class() -> None:
    """Pixels that belong to no region change no other pixel."""
    torch.manual_seed(0)
    module, pixels = ObjectContext(8, 4).eval(), torch.rand(1, 8, 1, 30)
    scores = torch.full((1, 2, 1, 30), -100.0)
    scores[..., :20] = 0.0
    nowhere, region = pixels.clone(), pixels.clone()
    nowhere[..., 25] += 1
    region[..., 15] += 1
    with torch.inference_mode():
        before = module(pixels, scores)[..., 0]
        assert torch.equal(module(nowhere, scores)[..., 0], before)
        assert not torch.allclose(module(region, scores)[..., 0], before)


def test_coarse_scores_have_a_loss_of_their_own() -> None:
    body = build_body(example("ocr"), 3, 4).train()
    (part,) = body.auxiliary_parts
    outputs = []
    part.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits, labels = body(torch.rand(2, 3, 64, 64)), torch.randint(0, 4, (2, 64, 64))
    assert outputs[0].shape == (2, 4, 8, 8)
    loss = body.auxiliary_loss(outputs, logits, labels, functional.cross_entropy)
    whole = functional.interpolate(outputs[0], size=(64, 64), mode="bilinear")
    torch.testing.assert_close(loss, 0.4 * functional.cross_entropy(whole, labels))


@pytest.mark.parametrize("architecture", ["hrnetv2", "ocr"])
def test_it_overfits_four_windows(architecture: str) -> None:
    check_overfitting(example(architecture), below=0.4, steps=50)


@pytest.mark.parametrize("encoder", ["vgg11", "tu-hrnet_w18_small"])
def test_ocr_takes_encoders_that_cannot_dilate(encoder: str) -> None:
    body = on_meta("ocr", encoder, **({"maps": "last", "encoder_output_stride": 32} if encoder == "vgg11" else {}))
    assert body(torch.empty(1, 3, 64, 96, device="meta")).shape == (1, 19, 64, 96)
