"""The refinement module: MagNet's, in blocks as at once; taken where the coarse classes are unsure and it is sure."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter
from support.models import make_spec

from geoseg.core.errors import SpecError
from geoseg.models.branches.refine import (
    BLOCKS_AT_ONCE,
    Predicted,
    RefineBranch,
    RefinementModule,
    RefiningSegmenter,
    _most,
    refine_steps,
    uncertainty,
)
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.surroundings import Context
from geoseg.spec import NetworkSpec, RefineSpec, TrainSpec, parse_spec

POINT = NetworkSpec(architecture="pointwise", multiple=8)


def network(**changes: Any) -> RefiningSegmenter:
    torch.manual_seed(0)
    refine = parse_spec(RefineSpec, {"ratios": [4], "channels": 8, "median_px": 5} | changes, source="test")
    built = build_network(make_spec(3, bands=("red", "green"), network=POINT, refine=refine))
    assert isinstance(built, RefiningSegmenter)
    for module in built.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after some training
            module.running_mean.normal_(std=0.1)
    return built.eval()


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
    fine = torch.rand(1, 3, 31, 31, requires_grad=True)
    module(fine, torch.rand(1, 3, 31, 31))[0, :, 15, 15].square().sum().backward()
    rows, cols = fine.grad[0].abs().sum(dim=0).nonzero().T
    assert (int(rows.min()), int(rows.max()), int(cols.min()), int(cols.max())) == (11, 19, 11, 19)


def test_a_constant_map_stays_constant() -> None:
    predicted = RefinementModule(3, 8).eval()(torch.full((1, 3, 40, 50), 0.3), torch.full((1, 3, 40, 50), 0.2))
    assert (predicted - predicted[..., :1, :1]).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------------------ what is taken


def test_without_a_coarser_view_it_is_the_local_network() -> None:
    net, image = network(), torch.rand(2, 2, 64, 48)
    assert torch.equal(net(image), net.body(net.normalize(image)))


def test_blocks_are_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    net, image = network(), torch.rand(2, 2, 72, 104)
    net.refine.threshold.fill_(0.3)
    with torch.inference_mode():
        whole = net(image, some_context())
        monkeypatch.setattr("geoseg.models.branches.refine.BLOCK_PX", 16)
        monkeypatch.setitem(BLOCKS_AT_ONCE, "cpu", 3)
        blocks = net(image, some_context())
    assert (whole - blocks).abs().max() < 1e-5


def test_a_threshold_decides_between_coarse_and_refined() -> None:
    net, image, context = network(), torch.rand(2, 2, 40, 40), some_context()
    with torch.inference_mode():
        coarse = net.coarse(context, (40, 40))
        fine = net(image).softmax(dim=1)
        refined = net.refine.module(fine, coarse).softmax(dim=1)
        net.refine.threshold.fill_(2.0)
        assert torch.allclose(net(image, context).exp(), coarse, atol=1e-6)
        net.refine.threshold.fill_(-1.0)
        assert torch.allclose(net(image, context).exp(), refined, atol=1e-6)


def test_pixels_are_taken_where_coarse_is_unsure_and_refined_is_sure() -> None:
    net = network(median_px=1)
    fine = torch.rand(1, 3, 24, 24).softmax(dim=1)
    coarse = torch.rand(1, 3, 24, 24).mul(9).softmax(dim=1)
    with torch.inference_mode():
        refined = net.refine.module(fine, coarse).softmax(dim=1)
        scores = uncertainty(coarse) * (1 - uncertainty(refined))
        threshold = scores.median()
        net.refine.threshold.copy_(threshold)
        settled = net.settle(fine, coarse)
    wanted = torch.where(scores > threshold, refined, coarse)
    assert 0.3 < (scores > threshold).float().mean() < 0.7
    assert torch.allclose(settled, wanted, atol=1e-6)


def test_most_marked_is_a_median_above_the_threshold() -> None:
    values = np.random.default_rng(0).random((40, 50))
    found = _most(torch.from_numpy(values > 0.4)[None, None], 2)[0, 0].numpy()
    wanted = median_filter(values, 5) > 0.4
    assert np.array_equal(found[2:-2, 2:-2], wanted[2:-2, 2:-2])


def test_uncertainty_is_one_less_the_margin() -> None:
    assert uncertainty(torch.tensor([0.7, 0.1, 0.2]).view(1, 3, 1, 1)).item() == pytest.approx(0.5)


# ------------------------------------------------------------------------------------------------------------ training


class Spy(torch.nn.Module):
    """Keeps what it is asked, and answers with the fine map."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        self.asked.append((fine, coarse))
        return fine.log()


@pytest.mark.parametrize("side", [64, 160])
def test_steps_hold_the_same_ground_against_each_other(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that tell their own place in the windows' coordinates are the same place in both inputs of the module."""
    monkeypatch.setattr("geoseg.models.branches.refine.STORED_STEPS", 10**6)
    generator = torch.Generator().manual_seed(3)
    boxes = [torch.tensor([[0.36, 0.4, 0.61, 0.65], [0.5, 0.3, 0.75, 0.55]])]  # a quarter of a view
    middle = (boxes[0][:, :2] + boxes[0][:, 2:]) / 2
    start = 0.52 - middle / 4
    wide = torch.cat([start + boxes[0][:, :2] / 4, start + boxes[0][:, 2:] / 4], dim=1)
    boxes.append(wide)
    middles = (torch.arange(side) + 0.5) / side

    def place(box: torch.Tensor | None, b: int) -> torch.Tensor:
        """Where pixels lie, as a probability that grows over all of the widest view, and one that does so down."""
        left, top, right, bottom = [0.0, 0.0, 1.0, 1.0] if box is None else box[b].tolist()
        x, y = (middles - left) / (right - left), (middles - top) / (bottom - top)
        predicted = [0.3 + x.expand(side, side) / 100, 0.3 + y[:, None].expand(side, side) / 100]
        return torch.stack([*predicted, 1 - predicted[0] - predicted[1]])

    maps = [torch.stack([place(box, b) for b in range(2)]) for box in (None, *boxes)]
    labels = torch.zeros(2, side, side, dtype=torch.long)
    branch = RefineBranch(RefineSpec(ratios=(4, 16)), 3)
    branch.module = spy = Spy()
    branch.threshold.fill_(9.0)
    steps = refine_steps(branch, Predicted(tuple(maps), (labels,) * 3, tuple(boxes)), generator)
    assert len(steps) == len(spy.asked) == 2
    for fine, coarse in spy.asked:
        assert (fine - coarse).abs().max() < 1e-5
    assert spy.asked[1][0].shape[-1] == min(96, side)


def test_the_threshold_follows_the_share_of_points() -> None:
    branch = RefineBranch(RefineSpec(points=0.75), 3)
    scores = torch.linspace(0, 1, 10_000)
    for _ in range(200):
        branch.follow(scores)
    assert branch.threshold.item() == pytest.approx(0.25, abs=0.01)


def test_only_the_module_learns_from_its_steps() -> None:
    net = network().train()
    maps = tuple(torch.rand(2, 3, 32, 32).softmax(dim=1) for _ in range(2))
    labels = (torch.zeros(2, 32, 32, dtype=torch.long),) * 2
    predicted = Predicted(maps, labels, (torch.tensor([[0.4, 0.4, 0.65, 0.65]] * 2),))
    before = copy.deepcopy(net.body.state_dict())
    (step,) = refine_steps(net.refine, predicted, torch.Generator().manual_seed(0))
    step.logits.square().mean().backward()
    assert all(p.grad is not None for p in net.refine.module.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.body.state_dict().items())


# ----------------------------------------------------------------------------------------------------- bundle, settings


def test_a_bundle_carries_the_module_and_its_threshold(tmp_path: Path) -> None:
    net = network()
    net.refine.threshold.fill_(0.37)
    spec = make_spec(3, bands=("red", "green"), network=POINT, refine=net.refine.spec)
    loaded = load_model(save_model(net, spec, tmp_path / "a.safetensors"))
    assert loaded.spec.refine == net.refine.spec
    image = torch.rand(2, 2, 40, 40)
    with torch.inference_mode():
        assert torch.equal(loaded.module(image, some_context()), net(image, some_context()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": []}, "nothing to refine"),
        ({"ratios": [4, 6]}, "multiple of the one before"),
        ({"ratios": [1]}, "multiple of the one before"),
        ({"median_px": 4}, "odd"),
        ({"points": 0}, "greater than 0"),
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
