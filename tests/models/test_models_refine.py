"""The refinement module: MagNet's, added to fine logits where these are unsure; and the two stages of its training."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import make_spec

from geoseg.core.errors import SpecError
from geoseg.models.branches.refine import (
    Fine,
    RefineBranch,
    RefinementModule,
    RefiningSegmenter,
    draw_views,
    refine_step_by_step,
    stored,
    uncertainty,
)
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.surroundings import Context, Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import IGNORE, NetworkSpec, RefineSpec, TrainSpec, parse_spec

POINT = NetworkSpec(architecture="pointwise", multiple=8)


def network(**changes: Any) -> RefiningSegmenter:
    torch.manual_seed(0)
    refine = parse_spec(RefineSpec, {"ratios": [4], "channels": 8} | changes, source="test")
    built = build_network(make_spec(3, bands=("red", "green"), network=POINT, refine=refine))
    assert isinstance(built, RefiningSegmenter)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after some training
            module.running_mean.normal_(std=0.1)
    return built.eval()


def awake(**changes: Any) -> RefiningSegmenter:
    """A network whose module is no longer at zero."""
    net = network(**changes)
    torch.nn.init.normal_(net.refine.residual.out.weight, std=2)
    return net


def some_context(count: int = 2, side: int = 20) -> Context:
    maps = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1)).softmax(dim=1)
    return Context((maps,), (torch.tensor([[0.2, 0.1, 0.7, 0.9]] * count),))


# ----------------------------------------------------------------------------------------------------------- the module


@pytest.mark.parametrize(("classes", "weights"), [(7, 88_092), (19, 103_500)])
def test_it_is_as_large_as_the_published_one(classes: int, weights: int) -> None:
    assert sum(p.numel() for p in RefinementModule(classes).parameters()) == weights


def test_it_sees_nine_pixels() -> None:
    torch.manual_seed(0)
    module = RefinementModule(3, 32).eval()
    torch.nn.init.normal_(module.out.weight)
    fine = torch.rand(1, 3, 31, 31, requires_grad=True)
    module(fine, torch.rand(1, 3, 31, 31))[0, :, 15, 15].square().sum().backward()
    rows, cols = fine.grad[0].abs().sum(dim=0).nonzero().T
    assert (int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())) == (11, 19, 11, 19)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_constant_maps_are_changed_alike_everywhere(stride: int) -> None:
    branch = awake(stride=stride).refine
    logits = torch.tensor([0.2, 0.1, 0.0]).view(1, 3, 1, 1).expand(1, 3, 42, 50)
    context = Context((torch.full((1, 3, 9, 9), 0.3),), (torch.tensor([[0.2, 0.2, 0.8, 0.8]]),))
    with torch.inference_mode():
        added = branch(logits, context) - logits
    assert (added - added[..., :1, :1]).abs().max() < 1e-5
    assert added.abs().max() > 1e-2


def test_uncertainty_is_one_less_the_margin() -> None:
    some = torch.rand(2, 5, 9, 7, generator=torch.Generator().manual_seed(2)).softmax(dim=1)
    best = some.topk(2, dim=1).values
    assert torch.equal(uncertainty(some), 1 - (best[:, :1] - best[:, 1:]))
    assert uncertainty(torch.tensor([0.4, 0.4, 0.2]).view(1, 3, 1, 1)).item() == 1


# ----------------------------------------------------------------------------------------------------- what is changed


@pytest.mark.parametrize("stride", [1, 4])
def test_untrained_it_changes_no_bit(stride: int) -> None:
    net, image = network(stride=stride), torch.rand(2, 2, 41, 48)
    with torch.inference_mode():
        assert torch.equal(net(image, some_context()), net.body(net.normalize(image)))


def test_pixels_change_where_the_fine_view_is_unsure_and_only_there() -> None:
    net, image = awake(), torch.rand(2, 2, 40, 48)
    with torch.inference_mode():
        fine = net(image)
        unsure = uncertainty(fine.softmax(dim=1))
        net.refine.thresholds.fill_(float(unsure.median()))
        changed = (net(image, some_context()) != fine).any(dim=1, keepdim=True)
    assert torch.equal(changed, unsure > unsure.median())


def test_each_level_has_a_threshold_of_its_own() -> None:
    net, image, context = awake(ratios=[2, 4, 8]), torch.rand(2, 2, 40, 40), some_context()
    net.refine.thresholds.copy_(torch.tensor([-1.0, 2.0, -1.0]))
    with torch.inference_mode():
        fine = net(image)
        shut = [torch.equal(net(image, replace(context, level=level)), fine) for level in range(3)]
    assert shut == [False, True, False]


def test_windows_at_multiples_of_the_stride_agree() -> None:
    """Away from their edges, by what the module and the interpolation see."""
    branch, stride, edge = awake().refine, 4, 4 * 6
    logits = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(5))
    coarse = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(6)).softmax(dim=1)
    start, side = 7 * stride, 92  # no multiple of the stride's double
    box = torch.tensor([[start, start, start + side, start + side]]) / 128
    with torch.inference_mode():
        whole = branch(logits, Context((coarse,), (torch.tensor([[0.0, 0.0, 1.0, 1.0]]),)))
        part = branch(logits[..., start : start + side, start : start + side], Context((coarse,), (box,)))
    inner = slice(start + edge, start + side - edge)
    torch.testing.assert_close(part[..., edge:-edge, edge:-edge], whole[..., inner, inner], atol=1e-4, rtol=0)


def test_a_window_whose_side_is_no_multiple_of_the_stride_is_seen_in_place() -> None:
    """The coarse map is sampled in the middle of each square of pixels, also of one that the window cuts."""
    branch = network(stride=4).refine
    ramp = torch.stack(
        [torch.linspace(0.2, 0.4, 41).expand(41, 41), torch.linspace(0.2, 0.4, 41)[:, None].expand(41, 41)]
    )
    seen: list[torch.Tensor] = []

    class Spy(torch.nn.Module):
        def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
            seen.extend([fine, coarse])
            return torch.zeros_like(fine)

    branch.residual = Spy()
    maps = torch.cat([ramp, 1 - ramp.sum(dim=0, keepdim=True)])[None]
    branch(maps.log(), Context((maps,), (torch.tensor([[0.0, 0.0, 1.0, 1.0]]),)))
    fine, coarse = seen
    assert fine.shape == (1, 3, 11, 11)
    assert (fine - coarse)[..., :-1, :-1].abs().max() < 1e-5


# ----------------------------------------------------------------------------------------- first stage: all resolutions


class Fraction:
    """A criterion that says 1 for windows, and 10 for the first of several views."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(logits), int(labels.flatten()[0])))
        return logits.sum() * 0 + 10.0 * (labels.flatten()[0] == 1)

    def of_windows(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.seen.append((len(logits), 0))
        return logits.sum() * 0 + 1.0

    def of_hard_pixels(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels)


def batch(levels: int, count: int = 4, side: int = 32) -> LabelledWindows:
    """Windows in views two and four times wider; the labels of level i are all i + 1, but some are missing."""
    generator = torch.Generator().manual_seed(3)
    views = tuple(torch.rand(count, 3, side, side, generator=generator) for _ in range(levels))
    half = torch.tensor([0.25, 0.25, 0.75, 0.75])
    boxes = tuple((0.5 + (half - 0.5) / 2**level).expand(count, 4) for level in range(levels))
    labels = [torch.full((count, side, side), level % 3) for level in range(levels + 1)]
    labels[0][:, :4] = IGNORE
    image = torch.rand(count, 2, side, side, generator=generator)
    return LabelledWindows(image, labels[0], Views(views, boxes), tuple(labels[1:]))


@pytest.mark.parametrize(("native", "loss"), [(0.5, 0.5 + 0.5 * 5), (0.8, 0.8 + 0.2 * 5)])
def test_native_windows_and_each_level_have_their_share_of_the_loss(native: float, loss: float) -> None:
    net, criterion = network(ratios=[2, 4], native=native), Fraction()
    found = net.training_loss(batch(2, count=8), criterion, net, torch.Generator().manual_seed(0))
    assert found.item() == pytest.approx(loss)
    assert sorted(criterion.seen)[-1] == (8, 0)
    assert sum(count for count, _ in criterion.seen) == round(8 / native)


@pytest.mark.parametrize(
    ("count", "levels", "native"), [(8, 2, 0.5), (8, 3, 0.75), (5, 3, 0.3), (4, 2, 0.05), (3, 1, 0.9)]
)
def test_views_are_drawn_evenly_and_none_twice(count: int, levels: int, native: float) -> None:
    for seed in range(5):
        drawn = draw_views(count, levels, native, torch.Generator().manual_seed(seed))
        pairs = [(level, int(window)) for level, which in drawn for window in which]
        assert len(set(pairs)) == len(pairs) == min(max(1, round(count / native) - count), count * levels)
        numbers = [sum(level == of for of, _ in pairs) for level in range(levels)]
        assert max(numbers) - min(numbers) <= 1


def test_the_network_alone_learns_first() -> None:
    net = network(ratios=[2, 4])
    before = copy.deepcopy(net.refine.state_dict())
    net.train()
    for part in net.frozen_parts:
        part.eval()
    loss = net.training_loss(batch(2), Hard(), net, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(p.grad is not None for p in net.body.parameters())
    assert all(p.grad is None for p in net.refine.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.refine.state_dict().items())
    assert net.frozen_outputs(batch(2)) == ()


class Hard:
    """Cross-entropy for everything."""

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels, ignore_index=IGNORE)

    of_windows = of_hard_pixels = __call__


# ------------------------------------------------------------------------------------------- second stage: the module


def test_the_module_alone_learns_then() -> None:
    net = network(ratios=[2, 4], freeze_local=True)
    before = copy.deepcopy(net.body.state_dict())
    net.train()
    for part in net.frozen_parts:
        part.requires_grad_(False).eval()
    weights = list(net.refine.parameters())
    for seed in range(2):  # at first only its last layer, which is at zero, has a gradient other than 0
        net.training_loss(batch(2), Hard(), net, torch.Generator().manual_seed(seed)).backward()
        torch.optim.SGD(weights, 0.1).step()
    assert all(p.grad.abs().max() > 0 for p in weights)
    assert all(torch.equal(before[name], value) for name, value in net.body.state_dict().items())
    assert (net.refine.thresholds > 0).all()


def test_what_the_frozen_network_finds_can_be_kept() -> None:
    net, windows = awake(ratios=[2, 4], freeze_local=True), batch(2)
    kept = replace(windows, frozen=net.frozen_outputs(windows))
    assert [tensor.shape for tensor in kept.frozen] == [(4, 3, 32, 32)] * 3
    fresh, again = copy.deepcopy(net), copy.deepcopy(net)
    again.body.requires_grad_(False)
    again.body.forward = None  # type: ignore[assignment,method-assign]  # nothing is forwarded
    first = fresh.training_loss(windows, Hard(), fresh, torch.Generator().manual_seed(4))
    second = again.training_loss(kept, Hard(), again, torch.Generator().manual_seed(4))
    assert first.item() == second.item()


class Answering(torch.nn.Module):
    """Keeps the maps it is given, and answers the first class."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        self.given.append((fine, coarse))
        return torch.tensor([30.0, 0, 0]).view(1, 3, 1, 1).expand(fine.shape)


def test_fine_and_coarse_maps_lie_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps whose values are places in the windows' coordinates are the same place in both inputs of the module."""
    monkeypatch.setattr("geoseg.models.branches.refine.STORED_STEPS", 10**6)
    side, generator = 64, torch.Generator().manual_seed(3)
    boxes = [torch.tensor([[0.36, 0.4, 0.61, 0.65], [0.5, 0.3, 0.75, 0.55]])]  # a quarter of a view
    middle = (boxes[0][:, :2] + boxes[0][:, 2:]) / 2
    start = 0.52 - middle / 4
    boxes.append(torch.cat([start + boxes[0][:, :2] / 4, start + boxes[0][:, 2:] / 4], dim=1))
    middles = (torch.arange(side) + 0.5) / side

    def place(box: torch.Tensor | None, b: int) -> torch.Tensor:
        """Where pixels lie, as a probability that grows to the right over the widest view, and one that grows down."""
        left, top, right, bottom = [0.0, 0.0, 1.0, 1.0] if box is None else box[b].tolist()
        x, y = (middles - left) / (right - left), (middles - top) / (bottom - top)
        shares = [0.3 + x.expand(side, side) / 100, 0.3 + y[:, None].expand(side, side) / 100]
        return torch.stack([*shares, 1 - shares[0] - shares[1]])

    logits = [torch.stack([place(box, b) for b in range(2)]).log() for box in (None, *boxes)]
    labels = [torch.zeros(2, side, side, dtype=torch.long)] * 3
    branch = RefineBranch(RefineSpec(ratios=(4, 16)), 3)
    branch.residual = module = Answering()
    branch.thresholds.fill_(9.0)  # every step continues from the network's own
    answers = refine_step_by_step(branch, Fine(logits, labels, boxes), generator)
    assert len(answers) == len(module.given) == 2
    for fine, coarse in module.given:
        assert (fine - coarse).abs().max() < 1e-4
    assert all(torch.equal(answer, own) for answer, own in zip(answers, logits, strict=False))


def test_half_of_the_samples_continue_from_corrected_maps_rounded_as_in_a_scene() -> None:
    count, side = 64, 8
    logits = [torch.zeros(count, 3, side, side)] * 3
    branch = RefineBranch(RefineSpec(ratios=(2, 4), stride=1), 3)
    branch.residual = module = Answering()
    branch.thresholds.fill_(-1.0)
    boxes = [torch.tensor([[0.25, 0.25, 0.75, 0.75]] * count), torch.tensor([[0.375, 0.375, 0.625, 0.625]] * count)]
    labels = [torch.full((count, side, side), IGNORE)] * 3
    refine_step_by_step(branch, Fine(logits, labels, boxes), torch.Generator().manual_seed(0))
    first = module.given[1][1][:, 0, 0, 0]
    corrected = first > 0.99
    assert 20 < corrected.sum() < 44
    assert (first[~corrected] - 1 / 3).abs().max() < 1e-5
    shares = stored(torch.randn(1, 3, 4, 4)) * 255
    torch.testing.assert_close(shares, shares.round())


def test_thresholds_follow_the_share_of_points() -> None:
    branch = RefineBranch(RefineSpec(ratios=(2, 4), points=0.75), 3)
    for _ in range(200):
        branch.follow(1, torch.linspace(0, 1, 10_000))
    assert branch.thresholds.tolist() == pytest.approx([0, 0.25], abs=0.01)
    branch.follow(1, torch.zeros(0))
    assert branch.thresholds[1] > 0.2


def test_it_learns_what_only_the_coarse_view_knows() -> None:
    """The fine view tells something from nothing, but not which of two kinds it is; the coarse view knows the kind."""
    generator = torch.Generator().manual_seed(0)
    branch = RefineBranch(RefineSpec(ratios=(4,), channels=16), 3).train()
    box = torch.tensor([[0.25, 0.25, 0.5, 0.5]] * 8)

    def scenes() -> Fine:
        kinds = torch.randint(1, 3, (8, 4, 4), generator=generator).repeat_interleave(16, 1).repeat_interleave(16, 2)
        coarse = torch.nn.functional.one_hot(kinds, 3).permute(0, 3, 1, 2) * 4.0
        inside = kinds[:, 16:32, 16:32].repeat_interleave(4, 1).repeat_interleave(4, 2)
        things = torch.rand(8, 1, 8, 8, generator=generator) < 0.4
        there = torch.nn.functional.interpolate(things.float(), scale_factor=8.0)[:, 0] > 0
        blind = (
            torch.tensor([0.0, 5.0, 5.0]).view(1, 3, 1, 1) * there[:, None]
            + torch.tensor([5.0, 0.0, 0.0]).view(1, 3, 1, 1) * ~there[:, None]
        )
        return Fine([blind, coarse], [torch.where(there, inside, 0), kinds], [box])

    optimizer = torch.optim.Adam(branch.residual.parameters(), 0.01)
    for _ in range(40):
        some = scenes()
        (answer,) = refine_step_by_step(branch, some, generator)
        optimizer.zero_grad()
        Hard()(answer, some.labels[0]).backward()
        optimizer.step()
    some = scenes()
    with torch.inference_mode():
        (answer,) = refine_step_by_step(branch.eval(), some, generator)
    there = some.labels[0] > 0
    right = (answer.argmax(dim=1) == some.labels[0]).float()
    assert right[there].mean() > 0.9
    assert right[~there].mean() > 0.99


# ----------------------------------------------------------------------------------------------------- bundle, settings


def test_a_bundle_carries_the_module_and_its_thresholds(tmp_path: Path) -> None:
    net = awake(ratios=[2, 4])
    net.refine.thresholds.copy_(torch.tensor([0.37, 0.12]))
    spec = make_spec(3, bands=("red", "green"), network=POINT, refine=net.refine.spec)
    loaded = load_model(save_model(net, spec, tmp_path / "a.safetensors"))
    assert loaded.spec.refine == net.refine.spec
    image = torch.rand(2, 2, 40, 40)
    with torch.inference_mode():
        for context in (some_context(), replace(some_context(), level=1)):
            assert torch.equal(loaded.module(image, context), net(image, context))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": []}, "nothing to refine"),
        ({"ratios": [4, 6]}, "multiple of the one before"),
        ({"ratios": [1]}, "multiple of the one before"),
        ({"median_px": 11}, "remove it"),
        ({"points": 0}, "greater than 0"),
        ({"native": 1}, "less than 1"),
        ({"stride": 0}, "greater than or equal to 1"),
    ],
)
def test_a_refinement_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_spec(RefineSpec, changes, source="test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": {}}, "give one of them"),
        ({"augment": {"cutmix": 0.5}}, "cutmix"),
        ({"refine": {"freeze_local": True}}, "init_from"),
        ({"loss": {"auxiliary": 0.4}}, "auxiliary"),
    ],
)
def test_training_refuses_what_does_not_go_with_it(changes: dict[str, Any], message: str) -> None:
    values = {
        "name": "a",
        "data": {"tiles": "a.csv", "bands": ["red"]},
        "classes": [{"id": i, "name": str(i), "color": "#000000"} for i in range(2)],
        "network": {"architecture": "pointwise"},
        "refine": {},
    }
    with pytest.raises(SpecError, match=message):
        parse_spec(TrainSpec, values | changes, source="test")
