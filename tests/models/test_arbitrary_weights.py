"""Networks whose weights are read next."""

from __future__ import annotations

import pytest
import torch
from support.models import make_spec
from torch import nn

from geoseg.models.build import build_network
from geoseg.models.shared_copy import shared_copy
from geoseg.spec import NetworkSpec


@pytest.mark.parametrize("encoder", ["resnet18", "mit_b0"])
def test_a_network_that_is_read_next_draws_no_weights(encoder: str) -> None:
    architecture = "unet" if encoder == "resnet18" else "segformer"
    spec = make_spec(network=NetworkSpec(architecture=architecture, encoder=encoder))
    state = torch.get_rng_state()
    blank = build_network(spec, fresh=False)
    assert torch.equal(torch.get_rng_state(), state)
    fresh = build_network(spec).eval()
    assert not torch.equal(torch.get_rng_state(), state)
    blank.load_state_dict(fresh.state_dict())
    image = torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        assert torch.equal(blank.eval()(image), fresh(image))


def test_a_copy_shares_weights_but_not_layers() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    copied = shared_copy(network)
    assert [id(one) for one in copied.parameters()] == [id(one) for one in network.parameters()]
    assert [id(one) for one in copied.buffers()] == [id(one) for one in network.buffers()]
    copied[1] = nn.Identity()
    assert isinstance(network[1], nn.BatchNorm2d)
