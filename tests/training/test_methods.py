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
from support.models import make_spec

from geoseg.commands.train import train
from geoseg.core.errors import SpecError
from geoseg.models.build import build_network
from geoseg.spec import ClassSpec, ModelSpec, NetworkSpec, TrainSpec, parse_spec
from geoseg.training.methods.method import LABELLED, METHODS, UNLABELLED, Method, Setup, make_method
from geoseg.training.windows.augment import Augment
from geoseg.training.windows.random_windows import UNLABELLED as NO_LABEL
from geoseg.training.windows.random_windows import WindowBatch

every_method = pytest.mark.parametrize("name", METHODS.names)
STILL: dict[str, Any] = dict.fromkeys(
    (
        "warp",
        "gamma",
        "contrast",
        "brightness",
        "saturation",
        "band_gain",
        "band_shift",
        "band_mix",
        "noise",
        "blur_px",
    ),
    0,
)
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


def small_model() -> ModelSpec:
    """The spec of a network of 1 × 1 convolutions for the small tiles."""
    classes = [ClassSpec(**c) for c in SMALL["classes"]]
    network = NetworkSpec(architecture="pointwise")
    return make_spec(bands=("red", "green", "blue"), network=network).model_copy(update={"classes": tuple(classes)})


def small_method(name: str, folder: Path) -> dict[str, Any]:
    """A method and its parameters, as in a config."""
    return {"name": name, **METHODS.get(name).example(small_model(), folder)}


def small_data(name: str) -> dict[str, Any]:
    """The data settings of a run with a method: with images without labels, if it learns from them."""
    return SMALL["data"] | ({"unlabelled": "more.tif"} if UNLABELLED in METHODS.get(name).needs else {})


def write_data(folder: Path) -> None:
    """Labelled tiles, and an image without labels beside them."""
    write_tiles(folder, splits="train val more")
    rows = (folder / "tiles.csv").read_text().splitlines()
    (folder / "tiles.csv").write_text("\n".join(rows[:-1]))


def make(name: str, folder: Path) -> tuple[Method, Setup]:
    """A method with a network of 1 × 1 convolutions, whose running mean is the network itself."""
    method = small_method(name, folder)
    torch.manual_seed(0)
    network = build_network(small_model())
    spec = parse_spec(TrainSpec, SMALL | {"method": method, "augment": STILL, "data": small_data(name)}, source="test")
    augment = Augment(spec.augment, 0.0, 255.0, torch.zeros(3), keeps_plain=True)
    setup = Setup(network, network, spec, (500, 500), augment, small_model(), 100)
    return make_method(setup), setup


def a_batch() -> dict[str, WindowBatch]:
    image = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = (image[:, 0] > 128).to(torch.uint8)
    without = torch.full_like(labels, NO_LABEL)
    labels[:, :8] = NO_LABEL
    return {LABELLED: WindowBatch(image, labels), UNLABELLED: WindowBatch(image, without)}


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
