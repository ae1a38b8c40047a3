"""Which parameters move how, and how the rate changes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.models import make_spec
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from geoseg.models.auxiliary_head import AuxiliaryHead
from geoseg.models.build import build_network
from geoseg.spec import NetworkSpec, OptimizerSpec, ScheduleSpec
from geoseg.training.optimization import OPPONENT_RATE, clip_gradients, ema_update, learning_rate_curve, make_optimizer

UNET = NetworkSpec(
    architecture="unet", encoder="resnet18", arguments={"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
)
NAMES = st.sampled_from(["cosine", "poly", "one_cycle", "constant"])
SPECS = st.builds(ScheduleSpec, name=NAMES, warmup=st.floats(0, 0.99), power=st.floats(0.1, 3))
STEPS = st.integers(1, 400)


def group_of(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict:
    (group,) = [g for g in optimizer.param_groups if any(p is parameter for p in g["params"])]
    return group


def test_each_parameter_is_in_one_group_with_its_rate_and_decay() -> None:
    network = build_network(make_spec(network=UNET))
    head = AuxiliaryHead(network, classes=4)
    spec = OptimizerSpec(learning_rate=1e-2, encoder_rate=0.1, weight_decay=0.3)
    optimizer = make_optimizer([network, head], spec)
    assert isinstance(optimizer, AdamW)
    for name, parameter in [*network.named_parameters(), *head.named_parameters()]:
        group = group_of(optimizer, parameter)
        assert group["lr"] == pytest.approx(1e-3 if name.startswith("body.encoder.") else 1e-2), name
        assert group["weight_decay"] == (0.3 if parameter.ndim > 1 else 0), name
    assert len(optimizer.param_groups) == 4


def test_an_opponent_learns_more_slowly_and_takes_none_of_the_gradient_that_a_network_may_have() -> None:
    network, opponent = nn.Linear(2, 1), nn.Linear(2, 1)
    method = nn.ModuleDict({"head": nn.Linear(1, 1), "opponent": opponent})
    optimizer = make_optimizer([network, method], OptimizerSpec(learning_rate=1e-2), [opponent])
    assert group_of(optimizer, network.weight)["lr"] == group_of(optimizer, method["head"].weight)["lr"] == 1e-2
    assert group_of(optimizer, opponent.weight)["lr"] == pytest.approx(1e-2 * OPPONENT_RATE)
    for module, value in ((network, 0.1), (method["head"], 0.1), (opponent, 100.0)):
        for parameter in module.parameters():
            parameter.grad = torch.full_like(parameter, value)
    clip_gradients(optimizer, 1.0, [opponent])
    assert torch.equal(network.weight.grad, torch.full_like(network.weight, 0.1))
    assert torch.equal(method["head"].weight.grad, torch.full_like(method["head"].weight, 0.1))
    norm = torch.cat([parameter.grad.flatten() for parameter in opponent.parameters()]).norm()
    assert float(norm) == pytest.approx(1.0, abs=1e-4)


def test_a_network_alone_and_one_without_an_encoder() -> None:
    network = build_network(make_spec())
    optimizer = make_optimizer(network, OptimizerSpec(encoder_rate=0.1))
    assert [group["lr"] for group in optimizer.param_groups] == [2e-3, 2e-3]
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 2


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.9, True), (0.0, False)])
def test_sgd_has_nesterov_momentum(momentum: float, nesterov: bool) -> None:
    optimizer = make_optimizer(build_network(make_spec()), OptimizerSpec(name="sgd", momentum=momentum))
    assert isinstance(optimizer, SGD)
    assert all(group["momentum"] == momentum for group in optimizer.param_groups)
    assert all(group["nesterov"] == nesterov for group in optimizer.param_groups)


def test_frozen_parameters_stay_as_they_are_until_they_are_thawed() -> None:
    network = build_network(make_spec(network=UNET))
    encoder = network.body.encoder.requires_grad_(False)
    optimizer = make_optimizer(network, OptimizerSpec())
    before = encoder.conv1.weight.clone()

    def step() -> None:
        network(torch.rand(2, 1, 32, 32)).square().mean().backward()
        optimizer.step()

    step()
    assert torch.equal(encoder.conv1.weight, before)
    encoder.requires_grad_(True)
    step()
    assert not torch.equal(encoder.conv1.weight, before)


@given(SPECS, STEPS)
def test_the_rate_is_never_negative_and_peaks_at_one(spec: ScheduleSpec, steps: int) -> None:
    rates = [learning_rate_curve(spec, steps)(step) for step in range(steps + 2)]
    assert min(rates) >= 0
    assert max(rates[:steps]) == 1


@given(SPECS, STEPS)
def test_the_rate_rises_during_the_warm_up_and_never_after_it(spec: ScheduleSpec, steps: int) -> None:
    rates = [learning_rate_curve(spec, steps)(step) for step in range(steps + 2)]
    top = rates.index(1)
    assert top == max(1, round(steps * spec.warmup)) - 1
    assert rates[: top + 1] == sorted(set(rates[: top + 1]))
    assert rates[top:] == sorted(rates[top:], reverse=True)


@given(SPECS, STEPS)
def test_the_rate_ends_near_zero(spec: ScheduleSpec, steps: int) -> None:
    end = learning_rate_curve(spec, steps)(steps)
    assert end == (1 if spec.name == "constant" else pytest.approx(0, abs=1e-5))


def test_cosine_and_poly_by_hand() -> None:
    cosine = learning_rate_curve(ScheduleSpec(name="cosine", warmup=0.1), 100)
    assert [cosine(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1, 1])
    assert [cosine(step) for step in (55, 100)] == pytest.approx([0.5, 0])
    poly = learning_rate_curve(ScheduleSpec(name="poly", warmup=0, power=2), 101)
    assert [poly(step) for step in (0, 1, 51, 101)] == pytest.approx([1, 1, 0.25, 0])


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (20, 0.5), (10, 0.2), (40, 0.05)])
def test_one_cycle_is_torchs(steps: int, warmup: float) -> None:
    def rates(make) -> list[float]:
        optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        schedule, found = make(optimizer), []
        for step in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if step < steps - 1:
                schedule.step()
        return found

    curve = learning_rate_curve(ScheduleSpec(name="one_cycle", warmup=warmup), steps)
    own = rates(lambda optimizer: LambdaLR(optimizer, curve))
    assert own == pytest.approx(rates(lambda o: OneCycleLR(o, 0.1, total_steps=steps, pct_start=warmup)))


def test_the_running_mean_forgets_its_first_steps_and_keeps_its_type() -> None:
    update = ema_update(0.99)
    for count, expected in ((0, 0.1), (torch.tensor(10_000), 0.99)):
        means = [torch.ones(2), torch.full((1, 3), 2.0)]
        update(means, [torch.zeros(2), torch.zeros(1, 3)], count)
        assert means[0].tolist() == pytest.approx([expected] * 2)
        assert means[1].tolist() == [pytest.approx([2 * expected] * 3)]
    whole = [torch.tensor(3)]
    update(whole, [torch.tensor(5)], 10_000)
    assert whole == [torch.tensor(5)]
    mean = [torch.ones(2)]
    ema_update(0.0)(mean, [torch.zeros(2)], 5)
    assert mean[0].tolist() == [0, 0]
