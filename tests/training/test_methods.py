"""Training methods: what every registered one keeps; a config trains with one of another package by its entry point."""

from __future__ import annotations

import json
import sys
from importlib import invalidate_caches
from pathlib import Path
from typing import Any

import pytest
import torch
from support.branches import check_resuming, weights
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.methods import a_batch, make, small_data, small_method, small_model, write_data

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.models.build import build_network
from geoseg.spec import TrainSpec, parse_spec
from geoseg.training.methods.method import LABELLED, METHODS, UNLABELLED, check_method

every_method = pytest.mark.parametrize("name", METHODS.names)
CONSISTENT = '''
import torch
from geoseg.spec import Spec
from geoseg.training.criterion import TrainingCriterion
from geoseg.training.methods.method import LABELLED, StepLoss, Method


class Consistent(Method):
    """Labelled windows, and answers like those of the running mean."""

    class Settings(Spec):
        weight: float = 1.0
        """Weight of the difference."""

    def __init__(self, setup, settings):
        super().__init__(setup, settings)
        self.criterion = TrainingCriterion(setup.network, setup.spec, setup.class_counts)
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def loss(self, batches, generator):
        network, mean = self.setup.network, self.setup.averaged
        windows = batches[LABELLED].augmented(self.setup.augment, self.setup.spec.window, generator)
        supervised = network.training_loss(windows, self.criterion, mean, generator)
        with torch.no_grad():
            wanted = mean(windows.image).softmax(dim=1)
        difference = (self.scale * network(windows.image).softmax(dim=1) - wanted).square().mean()
        return StepLoss(supervised + self.settings.weight * difference, {"difference": difference})

    def after_step(self):
        self.steps += 1
'''


@every_method
def test_steps_on_a_batch_lower_its_loss_and_figures_are_scalars(name: str, tmp_path: Path) -> None:
    method, setup = make(name, tmp_path)
    optimizer = torch.optim.Adam([*setup.network.parameters(), *method.parameters()], lr=1e-3)
    values = []
    for _ in range(5):
        loss = method.loss(a_batch(), torch.Generator().manual_seed(1))
        optimizer.zero_grad()
        loss.value.backward()
        optimizer.step()
        method.after_step()
        values.append(loss.value.item())
        assert all(figure.numel() == 1 for figure in loss.figures.values())
        assert set(method.figures) <= loss.figures.keys()
    assert values[-1] < values[0]


@every_method
def test_the_network_is_no_part_of_a_methods_state(name: str, tmp_path: Path) -> None:
    method, setup = make(name, tmp_path)
    own = {id(tensor) for tensor in setup.network.state_dict(keep_vars=True).values()}
    assert not own & {id(tensor) for tensor in method.state_dict(keep_vars=True).values()}


@every_method
def test_a_run_is_resumed_exactly_and_the_bundle_has_the_network_alone(name: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    check_resuming(write_config(tmp_path, method=small_method(name, tmp_path), data=small_data(name)), tmp_path)
    bundle = weights(tmp_path / "whole" / "small.safetensors")
    assert bundle.keys() == build_network(small_model()).state_dict().keys()


@every_method
def test_what_a_method_says_of_itself_can_be_written_on_a_card(name: str, tmp_path: Path) -> None:
    method, _ = make(name, tmp_path)
    said = json.dumps(dict(method.provenance))
    assert str(tmp_path) not in said


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("supervized", r"method\.name = 'supervized': no training method is called 'supervized': did you mean"),
        ({"name": "supervised", "weight": 3}, r"method supervised: unknown setting 'weight'"),
        (3, r"method = 3: give"),
    ],
)
def test_a_method_that_makes_no_sense_is_refused_before_any_image_is_read(
    tmp_path: Path, method: Any, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        train(write_config(tmp_path, method=method), tmp_path / "run")


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that has a training method."""
    site = tmp_path / "site"
    info = site / "their_methods-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "their_methods.py").write_text(CONSISTENT)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[geoseg.methods]\nconsistent = their_methods:Consistent\n")
    monkeypatch.syspath_prepend(site)
    invalidate_caches()
    monkeypatch.delitem(METHODS.__dict__, "_others", raising=False)
    monkeypatch.setattr(METHODS, "_loaded", {})
    yield
    METHODS.__dict__.pop("_others", None)
    sys.modules.pop("their_methods", None)


def test_a_method_of_another_package_is_trained_by_a_config(other_package: None, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path, method={"name": "consistent", "weight": 0.5})
    check_resuming(config, tmp_path)
    bundle = weights(tmp_path / "whole" / "small.safetensors")
    alone = train(write_config(tmp_path), tmp_path / "supervised").bundle
    assert bundle.keys() == weights(alone).keys()
    assert any(not torch.equal(bundle[name], tensor) for name, tensor in weights(alone).items())
    with pytest.raises(SpecError, match=r"method consistent: unknown setting 'wait', did you mean weight\?"):
        train(write_config(tmp_path, method={"name": "consistent", "wait": 1}), tmp_path / "run")


def test_data_that_no_run_has_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(METHODS.get("supervised"), "needs", frozenset({LABELLED, "paired"}))
    with pytest.raises(SpecError, match="training method 'supervised' needs paired windows"):
        make("supervised", tmp_path)


OF_WINDOWS_ALONE = {"dpl", "style_transfer"}
"""Methods that take no surroundings at all, which have tests of their own."""


@pytest.mark.parametrize(
    "name", [n for n in METHODS.names if UNLABELLED in METHODS.get(n).needs and n not in OF_WINDOWS_ALONE]
)
def test_where_the_network_of_windows_is_frozen_nothing_is_learnt_from_unlabelled_ones(name: str) -> None:
    context = {"freeze_local": True, "levels": [{"ratio": 4, "size": 64}]}
    run = SMALL | {"method": name, "data": small_data(name), "context": context, "init_from": "known.safetensors"}
    run |= {"tile": 128}
    with pytest.raises(SpecError, match=f"method {name}: no logits .*: set freeze_local to false"):
        check_method(parse_spec(TrainSpec, run, source="test"))
