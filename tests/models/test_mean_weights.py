"""The mean of weights: exact for equal ones, in float64, of buffers as well; and kernels of one start are alike."""

from __future__ import annotations

import torch
from hypothesis import given, strategies
from support.models import make_spec

from geoseg.models.build import build_network
from geoseg.models.soup import is_half, mean_weights, share_alike
from geoseg.spec import NetworkSpec, NormalizationSpec

UNET = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 2, "decoder_channels": [8, 8]}, multiple=4
)


def random_weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return build_network(make_spec(3, network=UNET)).state_dict()


@given(count=strategies.integers(1, 9), seed=strategies.integers(0, 99))
def test_the_mean_of_equal_weights_is_bit_for_bit_the_same(count: int, seed: int) -> None:
    torch.manual_seed(seed)
    state = {"a.weight": torch.randn(3, 7) * 10.0 ** float(torch.randint(-30, 30, ())), "count": torch.tensor(seed)}
    mean = mean_weights([state] * count)
    assert all(torch.equal(mean[name], state[name]) and mean[name].dtype == state[name].dtype for name in state)


def test_the_mean_is_that_of_float64_and_holds_buffers() -> None:
    states = [random_weights(seed) for seed in range(3)]
    states[1]["body.encoder.bn1.running_mean"] += 3
    mean = mean_weights(states)
    assert mean.keys() == states[0].keys()
    assert torch.equal(mean["body.encoder.bn1.running_mean"], torch.ones(64))
    wanted = sum(state["body.encoder.conv1.weight"].double() for state in states) / 3
    assert torch.equal(mean["body.encoder.conv1.weight"], wanted.float())
    large = [{"x": torch.tensor([value])} for value in (1e8, 1.0, -1e8)]
    assert mean_weights(large)["x"].item() == torch.tensor(1 / 3).item()  # float32 would lose the 1


def test_counters_are_rounded() -> None:
    states = [{"num_batches_tracked": torch.tensor(count)} for count in (10, 11, 11)]
    assert mean_weights(states)["num_batches_tracked"] == torch.tensor(11)


def test_kernels_of_one_start_are_alike_and_others_are_not() -> None:
    first, other = random_weights(0), random_weights(1)
    moved = {name: t + 0.3 * t.abs().mean() * torch.randn_like(t) if t.ndim > 1 else t for name, t in first.items()}
    assert share_alike(first, first) == 1
    assert share_alike(first, moved) == 1
    assert share_alike(first, other) < 0.1


def test_an_encoder_in_common_is_not_enough_to_be_alike() -> None:
    first, other = random_weights(0), random_weights(1)
    mixed = {name: first[name] if ".encoder." in name else tensor for name, tensor in other.items()}
    assert share_alike(first, mixed) < 0.5


def test_kernels_in_sixteen_bits_are_known_as_such_whatever_statistics_are() -> None:
    torch.manual_seed(0)
    normalization = NormalizationSpec(mean=(0.1,) * 3, std=(1 / 3,) * 3)
    network = build_network(make_spec(3, bands=("red", "green", "blue"), network=UNET, normalization=normalization))
    assert not is_half(network)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
    assert is_half(network)
