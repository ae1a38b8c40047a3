"""SegNet against Badrinarayanan et al. 2017."""

from __future__ import annotations

import pytest
import torch
from support.models import make_spec
from support.overfitting import check_overfitting
from torch import nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.families.building import build_body
from geoseg.models.families.segnet import FAMILY, Segnet, Unpooling
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.spec import NetworkSpec

EXAMPLE = FAMILY.example("segnet")


def on_meta(encoder: str = "vgg16_bn") -> Segnet:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="segnet", encoder=encoder), 3, 11)
    assert isinstance(body, Segnet)
    return body


def convolutions(module: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_channels, m.out_channels) for m in module.modules() if isinstance(m, nn.Conv2d)]


def test_it_has_the_papers_number_of_weights() -> None:
    """Table 6: 117 MB on disk, of 4 bytes a weight; section 3: 14.7 million of them in the encoder."""
    body = on_meta()
    assert sum(p.numel() for p in body.parameters()) * 4 / 1e6 == pytest.approx(117, abs=1)
    assert sum(p.numel() for p in body.encoder.parameters()) / 1e6 == pytest.approx(14.7, abs=0.05)


def test_its_decoder_mirrors_the_13_convolutions_of_the_encoder() -> None:
    body = on_meta()
    encoder = convolutions(body.encoder)
    decoder = convolutions(body.decoder) + convolutions(body.head)
    assert len(encoder) == len(decoder) == 13
    mirrored = [(out, inputs) for inputs, out in reversed(encoder)]
    assert decoder[:-1] == mirrored[:-1]
    assert decoder[-1] == (64, 11)


def test_unpooling_puts_values_where_the_maxima_were() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 8, 12)
    pooled, places = functional.max_pool2d(image, 2, return_indices=True)
    sparse = Unpooling()(pooled, places)
    at_maxima = sparse != 0
    assert torch.equal(sparse[at_maxima], image[at_maxima])
    assert torch.equal(functional.max_pool2d(at_maxima.float(), 2), torch.ones_like(pooled))
    assert int(at_maxima.sum()) == pooled.numel()
    assert torch.equal(sparse, functional.max_unpool2d(pooled, places, 2))


def test_of_finer_maps_the_decoder_sees_places_alone() -> None:
    torch.manual_seed(0)
    body = build_body(EXAMPLE, 3, 4).eval()
    with torch.inference_mode():
        features = body.encode(torch.rand(1, 3, 64, 64))
        decoded = body.decode(features)
        blind = features._replace(maps=[*map(torch.zeros_like, features.maps[:-1]), features.maps[-1]])
        assert torch.equal(body.decode(blind), decoded)
        moved = ([places.flip(3) for places in features.tokens[0]],)
        assert not torch.allclose(body.decode(features._replace(tokens=moved)), decoded)


def test_vgg_weights_of_torchvision_are_taken(tmp_path) -> None:
    """A file with classifier weights behind the convolutions, as torchvision's."""
    spec = make_spec(bands=("red", "green", "blue", "nir"), network=EXAMPLE)
    network = build_network(spec)
    given = {name: torch.rand_like(t) for name, t in network.body.encoder.state_dict().items() if t.is_floating_point()}
    given["features.0.weight"] = given["features.0.weight"][:, :3].clone()
    torch.save(given | {"classifier.0.weight": torch.rand(4, 4)}, tmp_path / "vgg.pth")
    load_encoder_weights(network, spec, str(tmp_path / "vgg.pth"))
    found = network.body.encoder.state_dict()
    torch.testing.assert_close(found["features.0.weight"][:, :3], given["features.0.weight"])
    assert all(torch.equal(found[name], given[name]) for name in given if name != "features.0.weight")


def test_the_vgg_of_smp_has_the_same_weights() -> None:
    import segmentation_models_pytorch as smp

    with torch.device("meta"):
        wanted = smp.encoders.get_encoder("vgg16_bn", in_channels=5).state_dict()
        found = build_body(NetworkSpec(architecture="segnet", encoder="vgg16_bn"), 5, 2).encoder.state_dict()
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in wanted.items()}


def test_it_overfits_four_windows() -> None:
    check_overfitting(EXAMPLE, below=0.4, steps=60)


def test_another_encoder_is_answered_with_one_that_can_be_mirrored() -> None:
    with pytest.raises(ModelError, match=r"segnet mirrors VGG, it cannot have the encoder 'vgg16bn', did you mean"):
        build_body(NetworkSpec(architecture="segnet", encoder="vgg16bn"), 3, 2)
    with pytest.raises(ModelError, match="take vgg16_bn"):
        build_body(NetworkSpec(architecture="segnet", encoder="resnet18"), 3, 2)
