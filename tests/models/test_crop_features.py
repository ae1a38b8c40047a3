"""Features of crops, by which imagery is compared with what a network learnt from, of every architecture."""

import pytest
import torch
from support.models import Echo, make_spec
from support.networks import ALL

from geoseg.models.build import build_network
from geoseg.models.crop_features import MOST_FEATURES, crop_features
from geoseg.models.families import FAMILIES

BANDS = ("red", "green", "blue")


@pytest.mark.parametrize("architecture", ALL)
def test_every_network_has_features_of_which_each_crops_are_its_own(architecture):
    torch.manual_seed(0)
    network = build_network(make_spec(bands=BANDS, network=FAMILIES.get(architecture).example(architecture))).eval()
    crops, valid = 100 + 50 * torch.randn(2, 3, 96, 128), torch.ones(2, 96, 128, dtype=torch.bool)
    with torch.inference_mode():
        both, alone = crop_features(network, crops, valid), crop_features(network, crops[1:], valid[1:])
    assert 0 < both.shape[1] <= MOST_FEATURES
    assert both.isfinite().all()
    torch.testing.assert_close(both[1:], alone, rtol=1e-3, atol=1e-4)


def test_a_module_that_is_no_network_of_geoseg_has_none():
    assert crop_features(Echo(2), torch.zeros(3, 1, 8, 8), torch.ones(3, 8, 8, dtype=torch.bool)).shape == (3, 0)


def test_pixels_without_data_do_not_count():
    network = build_network(make_spec(bands=BANDS, network=FAMILIES.get("pointwise").example("pointwise"))).eval()
    crops, valid = torch.rand(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    valid[:, 8:, :] = False
    other = crops.clone()
    other[:, :, 8:] = 99
    with torch.inference_mode():
        torch.testing.assert_close(crop_features(network, crops, valid), crop_features(network, other, valid))
