"""Convolutions that also do what comes before and behind them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.models import make_spec
from support.networks import ALL
from torch import Tensor, nn
from torch.nn import functional

from geoseg.inference.logits import are_numbers
from geoseg.models.batch_norm_folding import folded
from geoseg.models.build import build_network
from geoseg.models.convolution_padding import padding_of
from geoseg.models.families import FAMILIES
from geoseg.models.operator_fusion import convolution as of_convolutions
from geoseg.models.operator_fusion import maps as of_maps
from geoseg.models.operator_fusion import network as of_networks
from geoseg.models.operator_fusion.convolution import FusedConv2d
from geoseg.models.operator_fusion.enlarged import evenly_rounded, row_weights
from geoseg.models.operator_fusion.maps import Content, Maps, plain
from geoseg.models.operator_fusion.network import fuse_operators
from geoseg.models.padding import replicate_edges
from geoseg.models.quantization.network import find_ranges
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import NetworkSpec

CHANNELS = 4
RGB = "red", "green", "blue"


def a_layer(channels: int = CHANNELS, out: int = CHANNELS, side: int = 3, **options: Any) -> nn.Conv2d:
    """A convolution that pads by replication."""
    layer = nn.Conv2d(channels, out, side, padding=side // 2, **options)
    return replicate_edges(nn.Sequential(layer)).eval()[0]


def fused_layer(layer: nn.Conv2d) -> FusedConv2d:
    padding = padding_of(layer)
    assert padding is not None
    return FusedConv2d(layer, padding)


def watched(values: Tensor) -> Maps:
    return Maps.of(Content.of(values.clone()))


def a_network(name: str, encoder: str = "resnet18") -> Any:
    """A U-Net or another network of smp with statistics of its own, its normalisations folded."""
    torch.manual_seed(0)
    network = build_network(make_spec(bands=RGB, network=NetworkSpec(architecture=name, encoder=encoder))).train()
    with torch.no_grad():
        network(torch.rand(2, 3, 64, 64) * 255)
    return folded(network.eval(), 3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(64, 96), (67, 99)])
def test_every_network_gives_the_same_logits(name: str, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build_network(make_spec(bands=RGB, network=FAMILIES.get(name).example(name))).eval()
    fused = fuse_operators(network)
    image = torch.rand(2, 3, *size) * 255
    with torch.inference_mode():
        wanted, found = network(image), fused(image)
    assert type(found) is Tensor
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("unet", "resnet18"),
        ("unetplusplus", "resnet18"),
        ("unet", "efficientnet-b0"),
        ("unet", "tu-tf_efficientnet_lite0"),
    ],
)
def test_networks_of_convolutions_are_fused(name: str, encoder: str) -> None:
    network = a_network(name, encoder)
    learns = [one.requires_grad for one in network.parameters()]
    fused = fuse_operators(network)
    assert fused is not network
    assert not any(isinstance(module, nn.Conv2d) for module in fused.modules())
    assert all(module.waits for module in fused.modules() if isinstance(module, FusedConv2d))
    image = torch.rand(1, 3, 128, 160) * 255
    with torch.inference_mode():
        wanted = network(image)
        assert torch.allclose(fused(image), wanted, atol=1e-4 * float(wanted.abs().max()))
    assert [one.requires_grad for one in network.parameters()] == learns
    assert {id(one) for one in fused.parameters()} <= {id(one) for one in network.parameters()}


def test_a_unet_never_enlarges_its_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    fused, seen = fuse_operators(a_network("unet")), list[bool]()
    joined = of_maps.joined

    def watching(parts: Any) -> Tensor:
        seen.extend(part.is_enlarged for part in parts)
        return joined(parts)

    for module in (of_maps, of_convolutions):
        monkeypatch.setattr(module, "joined", watching)
    with torch.inference_mode():
        fused(torch.rand(1, 3, 64, 64))
    assert seen
    assert not any(seen)


@settings(max_examples=40, deadline=None)
@given(
    low=st.lists(st.integers(1, 5), min_size=1, max_size=2), high=st.lists(st.integers(1, 5), max_size=2),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), count=st.integers(1, 2), channels=st.integers(1, 6),
    bias=st.booleans(), mixed=st.randoms(use_true_random=False),
)  # fmt: skip
def test_enlarged_maps_beside_others_give_what_they_would_if_they_were_made(
    low: list[int], high: list[int], size: tuple[int, int], count: int, channels: int, bias: bool, mixed: Any
) -> None:
    height, width = size
    maps = [torch.randn(count, one, height, width) for one in low]
    others = [torch.randn(count, one, 2 * height, 2 * width) for one in high]
    order = [*((one, True) for one in maps), *((one, False) for one in others)]
    mixed.shuffle(order)
    layer = a_layer(sum(low) + sum(high), channels, bias=bias)

    def forwarded(convolve: nn.Module, wrap: Callable[[Tensor], Tensor]) -> Tensor:
        parts = [functional.interpolate(wrap(one), scale_factor=2.0) if up else wrap(one) for one, up in order]
        return plain(functional.relu(convolve(torch.cat(parts, 1)), inplace=True))

    with torch.inference_mode():
        wanted, found = forwarded(layer, lambda one: one), forwarded(fused_layer(layer), watched)
    assert torch.allclose(found, wanted, atol=1e-5)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu, "relu in place": nn.ReLU(inplace=True), "relu_": Tensor.relu_,
    "relu6": nn.ReLU6(inplace=True), "hardtanh": lambda values: functional.hardtanh(values, -0.5, 0.25),
    "silu": nn.SiLU(), "silu in place": nn.SiLU(inplace=True), "gelu": nn.GELU(), "gelu tanh": nn.GELU("tanh"),
    "hardswish": nn.Hardswish(), "sigmoid": torch.sigmoid, "Tensor.sigmoid": Tensor.sigmoid, "leaky": nn.LeakyReLU(0.1),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("summed", ["", "out", "in"])
def test_what_follows_a_convolution_is_as_if_it_were_computed_by_itself(name: str, summed: str) -> None:
    layer, values, added = a_layer(), torch.randn(1, CHANNELS, 9, 7), torch.randn(1, CHANNELS, 9, 7)

    def forwarded(convolve: nn.Module, wrap: Callable[[Tensor], Tensor]) -> Tensor:
        found = convolve(wrap(values))
        if summed == "out":
            found = wrap(added) + found
        elif summed == "in":
            found += wrap(added)
        return plain(ACTIVATIONS[name](found))

    with torch.inference_mode():
        wanted, found = forwarded(layer, torch.clone), forwarded(fused_layer(layer), watched)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_activation_may_follow_enlarged_maps_beside_others(name: str) -> None:
    layer, low, high = a_layer(3), torch.randn(1, 2, 4, 5), torch.randn(1, 1, 8, 10)

    def forwarded(convolve: nn.Module, wrap: Callable[[Tensor], Tensor]) -> Tensor:
        parts = [functional.interpolate(wrap(low), scale_factor=2.0), wrap(high)]
        return plain(ACTIVATIONS[name](convolve(torch.cat(parts, 1))))

    with torch.inference_mode():
        wanted, found = forwarded(layer, torch.clone), forwarded(fused_layer(layer), watched)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_a_result_that_is_written_elsewhere_is_no_secret() -> None:
    layer, values = a_layer(), torch.randn(1, CHANNELS, 6, 6)
    target = watched(torch.randn(1, CHANNELS, 6, 6))
    convolved, wanted = fused_layer(layer)(target), layer(plain(watched(plain(target).clone())))
    with torch.inference_mode():
        torch.mul(values, 2.0, out=target)
        assert torch.allclose(plain(convolved), wanted, atol=1e-5)
        assert torch.equal(plain(target), values * 2.0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([
            "conv", "relu", "relu_", "add", "add_", "cat", "up", "pool", "half_", "view_", "set", "drop", "own", "norm",
        ]),
        st.integers(0, 9), st.integers(0, 9),
    ),
    min_size=2, max_size=12,
)  # fmt: skip


def run(steps: list[tuple[str, int, int]], layers: list[nn.Module], maps: list[Tensor]) -> list[Tensor]:
    """Maps that a program makes, with their own and those that it was given; it changes some of them in place."""
    for what, first, second in steps:
        one, other = maps[first % len(maps)], maps[second % len(maps)]
        if what == "conv":
            maps.append(layers[second % 3](one))
        elif what == "relu":
            maps.append(functional.relu(one))
        elif what == "relu_":
            functional.relu(one, inplace=True)
        elif what in ("add", "add_") and one.shape == other.shape:
            maps.append(one + other) if what == "add" else one.add_(other)
        elif what == "cat" and one.shape[2:] == other.shape[2:]:
            maps.append(torch.cat([one, other], 1)[:, :CHANNELS])
            maps.append(layers[-1](torch.cat([one, other], dim=1)))
        elif what == "up" and one.shape[2] < 40:
            maps.append(functional.interpolate(one, scale_factor=2.0))
        elif what == "pool" and min(one.shape[2:]) > 1:
            maps.append(functional.max_pool2d(one, 2))
        elif what == "half_":
            one.mul_(0.5)
        elif what == "view_":
            one.flatten(2)[:, :, 0].add_(1.0)
        elif what == "set":
            one[:, 0] = 0.25
        elif what == "drop":
            maps.append(functional.dropout(one, training=False))
        elif what == "own":
            maps.append(one * torch.sigmoid(one.mean((2, 3), keepdim=True)))
        elif what == "norm":
            mean = torch.zeros(CHANNELS)
            maps.append(functional.batch_norm(one, mean, mean + 4.0))
    return maps


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 99))
def test_no_program_sees_that_maps_wait(steps: list[tuple[str, int, int]], seed: int) -> None:
    """Values are changed in place, through views and by others, while convolutions that read them wait."""
    torch.manual_seed(seed)
    layers = [a_layer(), a_layer(side=1), a_layer(groups=CHANNELS), a_layer(2 * CHANNELS)]
    maps = [torch.randn(1, CHANNELS, 6, 8) for _ in range(2)]
    with torch.inference_mode():
        wanted = run(steps, layers, [one.clone() for one in maps])
        found = run(steps, [fused_layer(layer) for layer in layers], [watched(maps[0]), maps[1].clone()])
        for one, other in zip(found, wanted, strict=True):
            assert torch.allclose(plain(one), other, atol=1e-4)


class Twice(nn.Module):
    """A convolution whose outputs are used as they are and activated."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = a_layer(3)

    def forward(self, image: Tensor) -> Tensor:
        seen = self.conv(image)
        return functional.relu(seen) + seen


class Masked(nn.Conv2d):
    """A convolution of another package, which takes something else besides."""

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(values) * mask


class Mixed(nn.Module):
    """A convolution that somebody watches, one of another kind, and a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.watched, self.masked, self.last = a_layer(3), Masked(CHANNELS, CHANNELS, 1), a_layer()

    def forward(self, image: Tensor) -> Tensor:
        seen = functional.relu(self.watched(image))
        return self.last(self.masked(seen, torch.ones(1)))


def test_layers_that_are_watched_or_of_another_kind_stay_as_they_are() -> None:
    network = SegmentationNetwork(Normalize(make_spec(bands=RGB).normalization), Mixed()).eval()
    calls: list[int] = []
    network.body.watched.register_forward_hook(lambda *_: calls.append(1))
    fused = fuse_operators(network)
    kinds = [type(one).__name__ for one in (fused.body.watched, fused.body.masked, fused.body.last)]
    assert kinds == ["EdgeConv2d", "Masked", "FusedConv2d"]
    calls.clear()
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(fused(image), network(image), atol=1e-5)
    assert len(calls) == 2


def test_weights_are_laid_out_for_the_arithmetic_and_the_latest_sizes_alone() -> None:
    fused = fuse_operators(a_network("unet"))
    layers = [module for module in fused.modules() if isinstance(module, FusedConv2d)]
    assert not any(layer._weights for layer in layers)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for side in range(64, 64 + 32 * 8, 32):
            fused(torch.rand(1, 3, side, side))
    assert all(list(layer._weights) == [torch.bfloat16] for layer in layers)
    assert all(len(layer._weights[torch.bfloat16].whole._laid_out) <= 6 for layer in layers)


def test_a_runner_made_without_gradients_leaves_the_weights_learning() -> None:
    network = build_network(make_spec(bands=RGB, network=NetworkSpec(architecture="unet", encoder="resnet18")))
    with torch.inference_mode():
        Runner(network, "cpu", "bf16", RunnerOptions(bands=3, multiple=32))
    network.train()(torch.rand(2, 3, 64, 64)).sum().backward()


def test_outputs_that_are_used_twice_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = SegmentationNetwork(Normalize(make_spec(bands=RGB).normalization), Twice()).eval()
    fused = fuse_operators(network)
    assert fused is not network
    assert not fused.body.conv.waits
    ran: list[int] = []
    convolved = FusedConv2d._convolved
    monkeypatch.setattr(FusedConv2d, "_convolved", lambda *given: ran.append(1) or convolved(*given))
    with torch.inference_mode():
        fused(torch.rand(1, 3, 32, 32))
    assert ran == [1]


@pytest.mark.parametrize("strides", [1, 2, (1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(max_examples=15, deadline=None)
@given(size=st.tuples(st.integers(1, 12), st.integers(1, 12)), side=st.sampled_from([1, 2, 3, 5, 7]))
def test_outputs_of_all_sizes_are_right(strides: Any, dtype: torch.dtype, size: tuple[int, int], side: int) -> None:
    if side % 2 == 0:
        layer: nn.Conv2d = nn.Conv2d(CHANNELS, 16, side, strides)
        size = size[0] + side, size[1] + side
    else:
        layer = a_layer(CHANNELS, 16, side, stride=strides)
    values = torch.randn(1, CHANNELS, *size)
    with torch.inference_mode():
        wanted = layer(values).relu()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = functional.relu(fused_layer(layer)(watched(values)))
        assert found.dtype == dtype
        tolerance = 1e-5 if dtype == torch.float32 else 0.03
        assert torch.allclose(plain(found).float(), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_uniform_windows_stay_uniform(precision: str) -> None:
    runner = Runner(a_network("unet"), "cpu", precision, RunnerOptions(bands=3, multiple=32))
    for seed in range(4):
        colour = np.random.default_rng(seed).integers(0, 255, (1, 3, 1, 1), dtype=np.uint8)
        with runner.session():
            logits = runner.fastest(torch.from_numpy(colour).expand(1, 3, 128, 96).contiguous().float())
        tolerance = 0.0 if precision == "bf16" else 1e-5 * float(logits.abs().max())
        assert (logits - logits[:, :, :1, :1]).abs().max() <= tolerance


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-20, 1e-6, 1.0, 1e4]))
def test_sums_of_rounded_weights_are_exact(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, 5, 3, 3, generator=generator) * torch.rand(3, 5, 1, 1, generator=generator) * scale
    weight[0, 0] = 0.0
    rounded = evenly_rounded(weight)
    assert ((rounded - weight).abs() <= weight.abs().amax((2, 3), keepdim=True) / 50).all()
    for rows, exact in zip(row_weights(rounded), row_weights(rounded.double()), strict=True):
        assert torch.equal(rows.bfloat16().double(), exact)


def test_a_runner_fuses_final_weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("geoseg.models.runner.fuse_operators", lambda network: seen.append(network) or network)
    network = build_network(make_spec(bands=RGB, network=NetworkSpec(architecture="unet", encoder="resnet18")))
    Runner(network, "cpu", "fp32")
    assert not seen
    Runner(network, "cpu", "fp32", RunnerOptions(bands=3, multiple=32))
    assert len(seen) == 1


def test_windows_are_the_same_one_by_one_and_in_any_batch() -> None:
    runner = Runner(a_network("unet"), "cpu", "fp32", RunnerOptions(bands=3, multiple=32))
    windows = np.random.default_rng(0).integers(0, 255, (3, 3, 64, 96), dtype=np.uint8)
    together = runner(windows)
    assert all(torch.allclose(runner(windows[i : i + 1])[0], together[i], atol=1e-5) for i in range(3))


def test_without_onednn_networks_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build_network(make_spec(bands=RGB, network=NetworkSpec(architecture="unet", encoder="resnet18"))).eval()
    assert fuse_operators(network) is not network
    of_networks.fuses.cache_clear()
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", None)
    assert fuse_operators(network) is network
    of_networks.fuses.cache_clear()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.4e38, 1e30])
def test_values_that_cannot_be_computed_stay_none(precision: str, value: float) -> None:
    if precision == "int8" and not multiplies_integers():
        pytest.skip("no integers of 8 bits here")
    network = a_network("unet")
    windows = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    ranges = find_ranges(network, [torch.from_numpy(windows.copy())]) if precision == "int8" else {}
    runner = Runner(network, "cpu", precision, RunnerOptions(bands=3, multiple=32, ranges=ranges))
    usual = runner(windows)
    windows[0, 0, 30, 30] = value
    plain_precision = "bf16" if precision == "int8" else precision
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=plain_precision == "bf16"):
        wanted = network(torch.from_numpy(windows))
    found = runner(windows)
    assert bool(are_numbers(usual))
    assert bool(are_numbers(found)) == bool(are_numbers(wanted))
    assert torch.equal(found.isnan(), wanted.isnan())
