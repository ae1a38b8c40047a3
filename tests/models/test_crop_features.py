"""Features of crops, by which imagery is compared with what a network learnt from, of every architecture."""

import threading

import pytest
import torch
from support.models import Echo, make_spec
from support.networks import ALL
from torch import nn

from geoseg.models.build import build_network
from geoseg.models.crop_features import MOST_FEATURES, CropFeatures
from geoseg.models.families import FAMILIES
from geoseg.spec import NetworkSpec

BANDS = ("red", "green", "blue")


@pytest.mark.parametrize("architecture", ALL)
def test_every_network_has_features_of_which_each_crops_are_its_own(architecture):
    torch.manual_seed(0)
    network = build_network(make_spec(bands=BANDS, network=FAMILIES.get(architecture).example(architecture))).eval()
    crops, valid = 100 + 50 * torch.randn(2, 3, 96, 128), torch.ones(2, 96, 128, dtype=torch.bool)
    with torch.inference_mode():
        features = CropFeatures(network)
        both, again, alone = features(crops, valid), features(crops, valid), features(crops[1:], valid[1:])
    assert 0 < both.shape[1] <= MOST_FEATURES
    assert both.isfinite().all()
    assert torch.equal(both, again)  # which leaves the encoder early, if it can
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-4)


def test_a_module_that_is_no_network_of_geoseg_has_none():
    assert CropFeatures(Echo(2))(torch.zeros(3, 1, 8, 8), torch.ones(3, 8, 8, dtype=torch.bool)).shape == (3, 0)


def test_pixels_without_data_do_not_count():
    network = build_network(make_spec(bands=BANDS, network=FAMILIES.get("pointwise").example("pointwise"))).eval()
    crops, valid = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, 8:, :] = False
    other = crops.clone()
    other[:, :, 8:] = 99
    with torch.inference_mode():
        torch.testing.assert_close(CropFeatures(network)(crops, valid), CropFeatures(network)(other, valid))


@pytest.mark.parametrize("encoder", ["resnet18", "efficientnet-b0"])
def test_later_stages_are_computed_once_alone(encoder):
    network = build_network(make_spec(bands=BANDS, network=NetworkSpec(architecture="unet", encoder=encoder))).eval()
    calls = []
    for layer in network.body.encoder.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *_: calls.append(1))
    features, taken = CropFeatures(network), []
    with torch.inference_mode():
        for _ in range(3):
            before = len(calls)
            features(100 + 50 * torch.randn(2, 3, 64, 64), torch.ones(2, 64, 64, dtype=torch.bool))
            taken.append(len(calls) - before)
    assert taken[1] == taken[2] < 0.7 * taken[0]


class _InPlace(nn.Module):
    """An encoder whose features are changed in place after the module that gives them."""

    out_channels, output_stride = (3, 4), 2

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, image):
        return [image, self.layer(image).mul_(-2)]


def test_features_that_are_changed_in_place_are_those_of_the_whole_encoder():
    network = build_network(make_spec(bands=BANDS, network=NetworkSpec(architecture="unet", encoder="resnet18"))).eval()
    network.body.encoder = _InPlace()
    features, crops, valid = CropFeatures(network), 100 + 50 * torch.randn(1, 3, 64, 64), torch.ones(1, 64, 64).bool()
    with torch.inference_mode():
        maps = network.body.encoder.layer(network.normalize(crops)) * -2
        for _ in range(3):
            torch.testing.assert_close(features(crops, valid), maps.mean(dim=(2, 3)))


class _Sized(_InPlace):
    """An encoder that calls another layer for smaller images."""

    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, image):
        return [image, (self.layer if image.shape[-1] > 64 else self.small)(image)]


def test_an_encoder_that_goes_another_way_is_followed():
    network = build_network(make_spec(bands=BANDS, network=NetworkSpec(architecture="unet", encoder="resnet18"))).eval()
    network.body.encoder = _Sized()
    features = CropFeatures(network)
    with torch.inference_mode():
        for side, layer in ((128, "layer"), (64, "small"), (128, "layer")):
            crops, valid = 100 + 50 * torch.randn(1, 3, side, side), torch.ones(1, side, side).bool()
            maps = network.body.encoder.get_submodule(layer)(network.normalize(crops))
            torch.testing.assert_close(features(crops, valid), maps.mean(dim=(2, 3)))


class _Used(_InPlace):
    """An encoder whose layer another thread calls meanwhile."""

    out_channels = 3, 3

    def __init__(self):
        super().__init__()
        self.layer = nn.AvgPool2d(2)
        self.shapes = []

    def forward(self, image):
        other = threading.Thread(target=lambda: self.shapes.append(self.layer(image[:, :, :2, :2]).shape))
        other.start()
        other.join()
        return [image, self.layer(image)]


def test_others_may_use_the_network_meanwhile():
    network = build_network(make_spec(bands=BANDS, network=NetworkSpec(architecture="unet", encoder="resnet18"))).eval()
    network.body.encoder = _Used()
    features, crops, valid = CropFeatures(network), 100 + 50 * torch.randn(1, 3, 64, 64), torch.ones(1, 64, 64).bool()
    with torch.inference_mode():
        found = [features(crops, valid) for _ in range(3)]
    assert set(network.body.encoder.shapes) == {(1, 3, 1, 1)}
    assert len(network.body.encoder.shapes) == 5  # two more to find the layer
    assert all(torch.equal(one, found[0]) for one in found)
