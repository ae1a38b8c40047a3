"""Dilated convolutions that reach beyond windows everywhere: their outer weights have no gradient, and that is said."""

from __future__ import annotations

import torch
from support.labelled_tiles import write_config, write_tiles
from support.reporters import Watching
from torch import nn

from geoseg.commands.train import train
from geoseg.models.dilation_check import far_rates
from geoseg.models.families.building import build_body
from geoseg.spec import NetworkSpec

RATES = 2, 7, 8, 20


class Pyramid(nn.Module):
    """Parallel dilated convolutions of a map of an eighth of the window."""

    def __init__(self) -> None:
        super().__init__()
        self.rates = nn.ModuleList(nn.Conv2d(3, 2, 3, padding=rate, dilation=rate) for rate in RATES)

    def forward(self, image):
        return sum(one(image[:, :, ::8, ::8]) for one in self.rates)


def outer_gradient(layer: nn.Conv2d) -> float:
    outer = layer.weight.grad.abs()
    outer[:, :, 1, 1] = 0
    return float(outer.max())


def test_rates_are_far_whose_outer_weights_have_no_gradient():
    network = Pyramid()
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    untrained = tuple(layer.dilation[0] for layer in network.rates if outer_gradient(layer) == 0)
    found = far_rates(network, 3, 64)
    assert found.rates == untrained == (8, 20)


def test_in_the_least_window_no_rate_is_far():
    network = Pyramid()
    least = far_rates(network, 3, 64).least_window
    assert least == 8 * 21
    assert far_rates(network, 3, least).rates == ()
    assert far_rates(network, 3, least - 8).rates == (20,)


def test_modes_and_hooks_are_left_as_they_were():
    network = Pyramid().train()
    far_rates(network, 3, 64)
    assert network.training
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_network_without_dilation_is_not_forwarded():
    assert far_rates(nn.Linear(2, 2), 3, 64).rates == ()


def test_the_usual_rates_of_deeplab_are_far_in_small_windows():
    spec = NetworkSpec(architecture="deeplabv3plus", encoder="tu-test_resnet")
    found = far_rates(build_body(spec, 3, 2), 3, 256)
    assert found.rates == (24, 36)
    assert found.least_window == 37 * 16
    lower = spec.model_copy(update={"arguments": {"decoder_atrous_rates": [4, 8, 12]}})
    assert far_rates(build_body(lower, 3, 2), 3, 256).rates == ()


def test_training_in_windows_narrower_than_rates_says_so(tmp_path):
    write_tiles(tmp_path)
    notices: list[str] = []
    network = {"architecture": "deeplabv3plus", "encoder": "tu-test_resnet"}
    config = write_config(tmp_path, network=network, epochs=1, windows_per_epoch=4, batch_size=4)
    train(config, tmp_path / "run", reporter=Watching(lines=notices))
    (line,) = (line for line in notices if "rates of dilation" in line)
    assert "rates of dilation 2, 12, 24, 36: " in line
    assert f"a window of {37 * 16} px or more" in line
