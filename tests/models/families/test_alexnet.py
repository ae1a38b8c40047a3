"""AlexNet as an encoder, against torchvision's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from support.models import make_spec

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.families.building import build_body
from geoseg.models.families.encoders.alexnet import AlexNet
from geoseg.models.weights.encoder import load_encoder_weights
from geoseg.models.weights.files import fit_bands
from geoseg.spec import NetworkSpec

RGBN = ("red", "green", "blue", "nir")
SHIFT = 30
"""Pixels by which inner values are shifted against torchvision's: 2 by the first convolution, 4, 8, 16 by poolings."""


@pytest.fixture(scope="module")
def convolutions() -> torch.nn.Sequential:
    """torchvision's, without the fully connected layers."""
    torch.manual_seed(0)
    with torch.device("meta"):
        features = torchvision.models.alexnet().features
    features.to_empty(device="cpu")
    for layer in features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.reset_parameters()
    return features.eval()


def test_maps_have_exactly_the_sizes_of_their_strides() -> None:
    encoder = AlexNet(bands=5)
    maps = encoder(torch.rand(1, 5, 64, 96))
    assert [one.shape[1] for one in maps] == encoder.out_channels == [5, 0, 64, 192, 256, 256]
    assert [tuple(one.shape[-2:]) for one in maps] == [(64 // 2**i, 96 // 2**i) for i in range(6)]


def test_inner_values_are_torchvisions(convolutions: torch.nn.Sequential) -> None:
    own = AlexNet().eval()
    own.features.load_state_dict(convolutions.state_dict())
    image = torch.rand(1, 3, 320 + SHIFT, 352 + SHIFT)
    with torch.inference_mode():
        wanted, found = convolutions(image), own(image[:, :, SHIFT:, SHIFT:])[-1]
    inner = (..., slice(3, 7), slice(3, 8))
    torch.testing.assert_close(found[inner], wanted[inner])


def test_it_has_torchvisions_number_of_weights(convolutions: torch.nn.Sequential) -> None:
    assert (
        sum(p.numel() for p in AlexNet().parameters()) == sum(p.numel() for p in convolutions.parameters()) == 2_469_696
    )


def test_weights_of_torchvision_are_loaded(convolutions: torch.nn.Sequential, tmp_path) -> None:
    given = {f"features.{name}": tensor for name, tensor in convolutions.state_dict().items()}
    torch.save(given | {"classifier.1.weight": torch.rand(4, 4)}, tmp_path / "alexnet.pth")
    spec = make_spec(
        bands=RGBN, network=NetworkSpec(architecture="fcn8s", encoder="alexnet", arguments={"channels": 8})
    )
    network = build_network(spec)
    load_encoder_weights(network, spec, str(tmp_path / "alexnet.pth"))
    found = network.body.encoder.state_dict()
    torch.testing.assert_close(found["features.0.weight"], fit_bands(given["features.0.weight"], RGBN))
    assert all(torch.equal(found[name], given[name]) for name in found if name != "features.0.weight")


@pytest.mark.parametrize("architecture", ["unet", "fpn", "upernet", "linknet", "fcn16s", "hrnetv2"])
def test_networks_take_it_as_they_take_others(architecture: str) -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture=architecture, encoder="alexnet"), 4, 3)
    assert body(torch.empty(2, 4, 64, 96, device="meta")).shape == (2, 3, 64, 96)


def test_a_smaller_depth_ends_earlier() -> None:
    with torch.device("meta"):
        body = build_body(NetworkSpec(architecture="pspnet", encoder="alexnet"), 3, 3)
    assert list(body.stages) == [3, 0, 64, 192]


def test_it_cannot_dilate() -> None:
    with pytest.raises(ModelError, match="maps of a dilated encoder, which AlexNets do not give"):
        build_body(NetworkSpec(architecture="deeplabv3", encoder="alexnet"), 3, 2)
