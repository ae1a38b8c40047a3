"""Batch normalisations folded into convolutions: nothing is left of them, and the answers are the same."""

from __future__ import annotations

import pytest
import torch
from support.models import make_spec
from torch import nn

from geoseg.models.batch_norm_folding import folded
from geoseg.models.build import build_network
from geoseg.spec import NetworkSpec

NETWORKS = [
    ("unet", "tu-test_resnet", {}),
    ("unet", "tu-resnet18", {"encoder_depth": 4, "decoder_channels": [32, 24, 16, 8]}),
    ("unet", "tu-tf_efficientnet_lite0", {}),  # timm's own kind of normalisation, which also activates
    ("deeplabv3plus", "resnet18", {}),
    ("fpn", "mobilenet_v2", {}),
    ("unet", "tu-convnext_atto", {}),  # normalises otherwise
]


def network(architecture: str, encoder: str, arguments: dict[str, object]) -> nn.Module:
    torch.manual_seed(0)
    spec = NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments)
    built = build_network(make_spec(3, bands=("red", "green"), network=spec))
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after some training
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return built.eval()


def norms(module: nn.Module) -> int:
    return sum(isinstance(one, nn.BatchNorm2d) for one in module.modules())


@pytest.mark.parametrize(("architecture", "encoder", "arguments"), NETWORKS)
def test_the_answers_are_the_same(architecture: str, encoder: str, arguments: dict[str, object]) -> None:
    net = network(architecture, encoder, arguments)
    twin, image, before = folded(net, 2), torch.rand(2, 2, 96, 128), norms(net)
    with torch.inference_mode():
        wanted, found = net(image), twin(image)
    assert (found - wanted).abs().max() < 1e-3 * wanted.abs().max()
    assert norms(net) == before
    assert norms(twin) < max(1, before // 4)


def test_a_network_without_norms_is_left_alone() -> None:
    point = build_network(make_spec(3, network=NetworkSpec(architecture="pointwise")))
    assert folded(point, 1) is point


def test_a_convolution_that_others_also_hear_is_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
            nn.init.uniform_(self.norm.running_mean, 1, 2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            heard = self.convolution(image)
            return self.norm(heard) + heard

    net = Twice().eval()
    assert folded(net, 2) is net
