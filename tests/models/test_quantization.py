"""Convolutions of 8-bit integers give what those of floats give, within a step of their scales."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.context_networks import awake, some_views
from support.context_networks import network as context_network
from support.models import make_spec
from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.convolution_padding import is_padded_alike, padding_of
from geoseg.models.padding import EdgeConv2d
from geoseg.models.quantization.convolution import Inputs, Outputs, QuantizedConv2d
from geoseg.models.quantization.network import find_ranges, layer_errors, quantize
from geoseg.models.quantization.processor import multiplies_integers
from geoseg.models.quantization.quantized import Quantized, Scaling
from geoseg.models.quantization.sensitivity import most_sensitive, without
from geoseg.models.runner import Runner, RunnerOptions
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.tta import find_augmentations
from geoseg.spec import NetworkSpec

needs_integers = pytest.mark.skipif(not multiplies_integers(), reason="this processor has no integers of 8 bits")
pytestmark = needs_integers

NETWORKS: list[tuple[str, str, dict[str, Any]]] = [
    ("unet", "resnet18", {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}),  # sums, max pooling
    ("unet", "tu-tf_efficientnet_lite0", {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}),  # depthwise, clamped
    ("deeplabv3plus", "resnet18", {}),  # dilation, pooled features, bilinear resizing
    ("fpn", "mobilenet_v2", {}),
    ("unet", "efficientnet-b0", {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}),  # activations that stay floats
    ("segformer", "mit_b0", {}),  # attention
]


def network(architecture: str, encoder: str, arguments: dict[str, Any]) -> SegmentationNetwork:
    """A network with some statistics, whose logits differ from pixel to pixel."""
    torch.manual_seed(0)
    spec = NetworkSpec(architecture=architecture, encoder=encoder, arguments=arguments, multiple=32)
    built = build_network(make_spec(3, bands=("red", "green"), network=spec))
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    assert isinstance(built, SegmentationNetwork)
    return built.eval()


def windows(count: int = 3, side: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 2, 8, 8, generator=generator)
    fine = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return [(255 * one[None]).to(torch.uint8) for one in fine]


def difference(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("architecture", "encoder", "arguments"), NETWORKS)
def test_logits_are_those_of_floats(architecture: str, encoder: str, arguments: dict[str, Any]) -> None:
    net, seen = network(architecture, encoder, arguments), windows()
    integers = quantize(net, find_ranges(net, seen))
    assert any(isinstance(module, QuantizedConv2d) for module in integers.modules())
    with torch.inference_mode():
        for window in seen:
            wanted = net(window.float())
            for found in (integers(window), integers(window.float())):
                assert type(found) is Tensor
                assert found.dtype == torch.float32
                assert difference(found - wanted.mean(), wanted - wanted.mean()) < 0.1


def test_the_network_that_is_given_stays_as_it_is() -> None:
    net, seen = network(*NETWORKS[0]), windows()
    before = {name: values.clone() for name, values in net.state_dict().items()}
    quantize(net, find_ranges(net, seen))
    assert all(torch.equal(values, before[name]) for name, values in net.state_dict().items())
    assert not any(isinstance(module, QuantizedConv2d) for module in net.modules())


def test_a_window_does_not_depend_on_those_beside_it() -> None:
    net, seen = network(*NETWORKS[1]), windows()
    integers = quantize(net, find_ranges(net, seen[:1]))
    with torch.inference_mode():
        together = integers(torch.cat(seen))
        assert all(torch.equal(one, integers(window)[0]) for one, window in zip(together, seen, strict=True))


def test_a_uniform_window_stays_uniform() -> None:
    net = network(*NETWORKS[0])
    integers = quantize(net, find_ranges(net, windows()))
    with torch.inference_mode():
        logits = integers(torch.full((1, 2, 64, 96), 90, dtype=torch.uint8))
    assert torch.equal(logits, logits[:, :, :1, :1].expand_as(logits))


@given(
    kernel=st.sampled_from([1, 3, 5]), stride=st.sampled_from([1, 2]), dilation=st.sampled_from([1, 2]),
    groups=st.sampled_from([1, 4]), height=st.sampled_from([3, 8, 33]),
    width=st.sampled_from([1, 2, 9, 32]), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25)
def test_convolutions_of_any_shape(
    kernel: int, stride: int, dilation: int, groups: int, height: int, width: int, seed: int
) -> None:
    """Also where outputs are a single column, and inputs smaller than the kernel."""
    torch.manual_seed(seed)
    layer = nn.Conv2d(4, 8, kernel, stride, dilation * (kernel // 2), dilation, groups)
    layer.__class__ = EdgeConv2d
    layer.eval()
    values = torch.rand(1, 4, height, width) * torch.tensor([1.0, 3.0, 0.2, 1.0]).view(1, -1, 1, 1) - 0.3
    low, high = values.amin((0, 2, 3)), values.amax((0, 2, 3))
    padding = padding_of(layer)
    assert padding is not None
    with torch.inference_mode():
        wanted = layer(values)
        integers = QuantizedConv2d(
            layer, padding, Inputs(Scaling.of_range(low, high), values.mean((0, 2, 3))), Outputs(None)
        )
        found = integers(values)
        assert found.shape == wanted.shape
        reach = (layer.weight.abs().sum((1, 2, 3)) * float((high - low).max())).view(1, -1, 1, 1)
        assert bool(((found - wanted).abs() <= 0.03 * reach).all())
        scaled = Scaling.of_range(wanted.amin((0, 2, 3)), wanted.amax((0, 2, 3)))
        small = QuantizedConv2d(
            layer, padding, Inputs(Scaling.of_range(low, high), values.mean((0, 2, 3))), Outputs(scaled)
        )
        again = small(values)
        assert isinstance(again, Quantized)
        assert bool(((again.floats() - found).abs() <= 0.75 * scaled.scale.view(1, -1, 1, 1) + 0.03 * reach).all())


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(0, 9)), min_size=1, max_size=5))
@example([(-1.1754943508222875e-38, 0.0)])
def test_integers_stand_for_the_nearest_values(ranges: list[tuple[float, float]]) -> None:
    low = torch.tensor([one for one, _ in ranges])
    high = low + torch.tensor([width for _, width in ranges])
    scaling = Scaling.of_range(low, high)
    share = torch.rand(1, len(ranges), 4, 4)
    values = low.view(1, -1, 1, 1) + share * (high - low).view(1, -1, 1, 1)
    found = scaling.floats(scaling.integers(values))
    assert bool(((found - values).abs() <= 0.51 * scaling.scale.view(1, -1, 1, 1) + 1e-5).all())
    assert bool(
        (
            scaling.floats(scaling.integers(torch.zeros(1, len(ranges), 1, 1))).abs() <= scaling.scale.view(1, -1, 1, 1)
        ).all()
    )


def test_functions_that_choose_among_values_keep_integers_and_others_give_floats() -> None:
    integers = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    scaling = Scaling(torch.tensor([0.1, 0.2, 0.5]), torch.tensor([0.0, 3.5, 10.0]))
    maps = Quantized(integers, scaling)
    floats = maps.floats()
    functional = nn.functional
    chosen = {
        "max pooling": lambda x: functional.max_pool2d(x, 3, 2, 1),
        "nearest": lambda x: functional.interpolate(x, scale_factor=2.0, mode="nearest"),
        "beside each other": lambda x: torch.cat([x, x], dim=1),
        "part": lambda x: x[:, :, 2:5, 1:],
        "copy": lambda x: x.contiguous(),
    }
    with torch.inference_mode():
        for function in chosen.values():
            found = function(maps)
            assert isinstance(found, Quantized)
            assert torch.allclose(found.floats(), function(floats))
        rectified = functional.relu(maps)
        assert torch.allclose(rectified.floats(), floats.relu(), atol=0.5 * 0.2 + 1e-6)
        for plain in (lambda x: x * 2, lambda x: x.mean((2, 3)), lambda x: functional.silu(x), lambda x: x[:, 1:]):
            found = plain(maps)
            assert not isinstance(found, Quantized)
            assert torch.allclose(found, plain(floats))
    assert maps.shape == (1, 3, 8, 8)


def test_convolutions_that_pad_otherwise_or_reflect_are_left_alone() -> None:
    assert not is_padded_alike(nn.Conv2d(2, 2, 3, padding=1))  # with zeros
    assert not is_padded_alike(nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"))
    assert not is_padded_alike(nn.ConvTranspose2d(2, 2, 2, 2))
    assert is_padded_alike(nn.Conv2d(2, 2, 1))


def test_ranges_travel_with_the_bundle_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    spec = make_spec(3, bands=("red", "green"), network=NetworkSpec(architecture="unet", encoder="resnet18"))
    net = build_network(spec)
    assert isinstance(net, SegmentationNetwork)
    ranges = find_ranges(net, windows(1))
    loaded = load_model(save_model(net, spec, tmp_path / "a.safetensors", half=True, ranges=ranges))
    assert loaded.ranges.keys() == ranges.keys()
    assert all(torch.equal(values, ranges[name]) for name, values in loaded.ranges.items())
    assert not load_model(save_model(net, spec, tmp_path / "b.safetensors")).ranges
    name = next(iter(ranges))
    for wrong in (
        {name: ranges[name]},
        ranges | {name: ranges[name][:, :1]},
        ranges | {"nothing/inputs": ranges[name].clone()},
    ):
        save_model(net, spec, tmp_path / "c.safetensors", ranges=wrong)
        with pytest.raises(ModelError, match="its ranges for 8-bit integers"):
            load_model(tmp_path / "c.safetensors")


def test_convolutions_that_integers_cost_much_go_on_with_floats() -> None:
    """One layer whose weights of each output differ by a factor of a million cannot be told in 8 bits."""
    net, seen = network(*NETWORKS[0]), windows()
    names = [name for name, module in net.body.named_modules() if isinstance(module, nn.Conv2d)]
    spoilt = net.body.get_submodule(names[-1])
    assert isinstance(spoilt, nn.Conv2d)
    with torch.no_grad():  # most of the sum is one weight times an input without any spread
        spoilt.weight *= 1e-3
        spoilt.weight[:, 0, 1, 1] = 40.0
    ranges = find_ranges(net, seen)
    assert without(ranges, {names[-1]}).keys() < ranges.keys()
    errors = layer_errors(net, ranges, seen[0])
    assert all(0 <= error < 1 for error in errors.values())
    floats = most_sensitive(net, ranges, seen, least=1.0)
    assert len(floats) <= 0.2 * len(errors)
    assert most_sensitive(net, ranges, seen, least=0.0) == ()
    integers = quantize(net, find_ranges(net, seen, floats), floats)
    assert not any(isinstance(integers.body.get_submodule(name), QuantizedConv2d) for name in floats)


def test_a_context_branch_goes_on_with_floats_beside_integers() -> None:
    """The local network's features and logits join the context as they do without integers."""
    net = awake(context_network()).eval()
    window, views = torch.cat(windows(2)), some_views()
    integers = quantize(net, find_ranges(net, [window]))
    assert not any(isinstance(module, QuantizedConv2d) for module in integers.context.modules())
    with torch.inference_mode():
        seen = net.see(views)
        pairs = zip(integers.see(views).maps, seen.maps, strict=True)
        assert all(torch.allclose(one, other, atol=1e-4) for one, other in pairs)
        wanted = net(window.float(), seen)
        assert difference(integers(window, seen) - wanted.mean(), wanted - wanted.mean()) < 0.1


@pytest.mark.parametrize("augmentation", ["flips", "d4"])
def test_mirror_images_are_seen_with_integers(augmentation: Any) -> None:
    net, (window, *_) = network(*NETWORKS[0]), windows()
    turned = [window.rot90(turns, (2, 3)).flip(axes) for turns in range(4) for axes in ((), (3,))]
    ranges = find_ranges(net, turned)
    options = RunnerOptions(augmentations=find_augmentations(augmentation, (1.0,)), multiple=8, bands=2)
    floats = Runner(copy.deepcopy(net), "cpu", "fp32", options)
    found = Runner(net, "cpu", "int8", replace(options, ranges=ranges))(window.numpy())
    wanted = floats(window.numpy())
    assert difference(found - wanted.mean(), wanted - wanted.mean()) < 0.15


class InPlace(nn.Module):
    """Changes outputs of convolutions in place, and goes on with the same variable."""

    def __init__(self, change: str):
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 3, 1))
        self._change = change

    def forward(self, image: Tensor) -> Tensor:
        """(B, 2, h, w) -> (B, 3, h, w)."""
        maps = self.first(image)
        other = self.second(maps)
        if self._change == "sum":
            other.add_(maps)
            other.relu_()
        elif self._change == "scaled":
            other.mul_(0.5)
            other += 0.25
        else:
            other.clamp_(min=-0.1)
            maps.sigmoid_()
            other = torch.cat([other[:, :2], maps[:, :2]], dim=1)
        found: Tensor = self.third(other)
        return found

    def classify(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The same, with features."""
        return image, self(image)


@pytest.mark.parametrize("change", ["sum", "scaled", "clamped"])
def test_values_that_are_changed_in_place_are_changed_for_everybody(change: str) -> None:
    torch.manual_seed(0)
    spec = make_spec(3, bands=("red", "green"), network=NetworkSpec(architecture="pointwise", multiple=1))
    net, seen = build_network(spec), windows()
    assert isinstance(net, SegmentationNetwork)
    net.body = InPlace(change)  # type: ignore[assignment]
    ranges = find_ranges(net.eval(), seen)
    integers = quantize(net, ranges)
    assert isinstance(integers.body.first, QuantizedConv2d)
    with torch.inference_mode():
        for window in seen:
            wanted = net(window.float())
            assert difference(integers(window) - wanted.mean(), wanted - wanted.mean()) < 0.05


@pytest.mark.parametrize("zero", [0.0, 100.0])
def test_values_are_clamped_where_an_activation_ends_whatever_came_before(zero: float) -> None:
    functional = nn.functional
    integers = torch.randint(0, 256, (1, 2, 8, 8), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    maps = Quantized(integers, Scaling(torch.tensor([0.02, 0.1]), torch.tensor([zero, zero])))
    chains = {
        "clamped twice": lambda x: functional.relu6(functional.relu(x)),
        "clamped after pooling": lambda x: functional.relu6(functional.max_pool2d(functional.relu(x), 2)),
        "clamped on both sides": lambda x: functional.hardtanh(x, -0.5, 2.0),
        "then at 0": lambda x: functional.relu(functional.hardtanh(x)),
    }
    for chain in chains.values():
        found = chain(maps)
        assert isinstance(found, Quantized)
        assert torch.allclose(found.floats(), chain(maps.floats()), atol=0.051)
    assert torch.equal(maps.integers, integers)


def test_a_copy_that_is_changed_in_place_leaves_the_original() -> None:
    maps = Quantized(torch.full((1, 2, 4, 4), 9, dtype=torch.uint8), Scaling(torch.ones(2), torch.zeros(2)))
    maps.clone().mul_(3)
    assert torch.equal(maps.floats(), torch.full((1, 2, 4, 4), 9.0))


def test_resizing_beyond_the_values_gives_floats() -> None:
    integers = torch.randint(0, 256, (1, 2, 8, 8), dtype=torch.uint8)
    maps = Quantized(integers, Scaling(torch.ones(2), torch.zeros(2)))
    found = nn.functional.interpolate(maps, scale_factor=2.0, mode="bicubic")
    assert not isinstance(found, Quantized)
    assert torch.equal(found, nn.functional.interpolate(integers.float(), scale_factor=2.0, mode="bicubic"))
