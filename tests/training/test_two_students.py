"""Methods with two networks: they start apart, learn from each other, and no gradient goes from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from support.labelled_tiles import SMALL
from support.methods import STILL, a_batch, make, small_data
from support.models import make_spec

from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.weights.start import names_of_classifiers
from geoseg.spec import NetworkSpec, TrainSpec, parse_spec
from geoseg.training.learner import Learner, LearnerInputs
from geoseg.training.methods.method import UNLABELLED
from geoseg.training.methods.mutual_training import MutualTraining
from geoseg.training.methods.two_students import TwoStudents, second_start
from geoseg.training.methods.unlabelled import targets_of
from geoseg.training.perturbations.targets import Targets
from geoseg.training.windows.augment import Augment

UNET = NetworkSpec(
    architecture="unet", encoder="tu-test_resnet", arguments={"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
)


def a_run(**changes: Any) -> TrainSpec:
    return parse_spec(TrainSpec, SMALL | {"augment": STILL, "data": small_data("cps")} | changes, source="test")


def a_method(name: str, folder: Path) -> TwoStudents:
    method, _ = make(name, folder)
    assert isinstance(method, TwoStudents)
    return method


def test_the_loss_of_each_network_against_the_others_classes_reaches_that_network_alone(tmp_path: Path) -> None:
    method = a_method("cps", tmp_path)
    generator = torch.Generator().manual_seed(0)
    windows = a_batch()[UNLABELLED].augmented(method.setup.augment, 32, generator)
    for learning, other in ((method.setup.network, method.second), (method.second, method.setup.network)):
        targets = targets_of(other, windows)
        method.loss_against(learning, windows.image, targets, generator).backward()
        assert all(parameter.grad is not None for parameter in learning.parameters())
        assert all(parameter.grad is None for parameter in other.parameters())
        learning.zero_grad()


def test_the_second_network_has_other_weights_and_the_same_ones_in_every_run() -> None:
    model = make_spec(network=UNET)
    state = torch.random.get_rng_state()
    one, same, other = (second_start(a_run(seed=seed), model).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(0)
    first = build_network(model).state_dict()
    kernels = [name for name, tensor in one.items() if tensor.ndim == 4]
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) or torch.equal(one[name], first[name]) for name in kernels)


def test_from_a_bundle_the_second_network_takes_all_but_its_last_layers(tmp_path: Path) -> None:
    model = make_spec(network=UNET)
    network = build_network(model)
    bundle = save_model(network, model, tmp_path / "first.safetensors")
    second, known = second_start(a_run(init_from=bundle), model).state_dict(), network.state_dict()
    anew = names_of_classifiers(model)
    assert {name for name in known if not torch.equal(known[name], second[name])} <= anew
    assert not torch.equal(known["body.segmentation_head.0.weight"], second["body.segmentation_head.0.weight"])


def test_mutual_training_weighs_pixels_by_agreement_and_by_who_is_surer(tmp_path: Path) -> None:
    mutual, _ = make("mutual_training", tmp_path, gamma_agreeing=2.0, gamma_other=3.0)
    assert isinstance(mutual, MutualTraining)
    #                          both see 0 | 0 and 1, the teacher surer | 0 and 1, the learner surer
    teacher = torch.tensor([[0.7, 0.9, 0.6], [0.3, 0.1, 0.4]]).view(1, 2, 1, 3)
    learner = torch.tensor([[0.8, 0.2, 0.2], [0.2, 0.8, 0.8]]).view(1, 2, 1, 3)
    targets = Targets(teacher, torch.ones(1, 1, 3, dtype=torch.bool))
    found = mutual.pixel_weights(learner, targets)
    assert torch.allclose(found, torch.tensor([[[0.8**2, 0.2**3, 0.0]]]))
    assert torch.equal(a_method("cps", tmp_path).pixel_weights(learner, targets), torch.ones(1, 1, 3))


def test_the_encoders_of_both_networks_stay_fixed_in_the_first_epochs(tmp_path: Path) -> None:
    run = a_run(frozen_epochs=1, method="cps", network=UNET.model_dump())
    model = make_spec(bands=("red", "green", "blue"), network=UNET)
    augment = Augment(run.augment, 0.0, 255.0, torch.zeros(3), keeps_plain=True)
    steps: Any = range(4)
    inputs = LearnerInputs(run, model, tmp_path, "fp32", (500, 500, 500, 500), augment, train=steps, val=steps)
    learner = Learner(build_network(model), inputs)
    second = learner.method.students[0]
    for network in (learner.network, second):
        sum(parameter.sum() for parameter in network.parameters()).backward()
    learner.on_before_optimizer_step(None)
    for network in (learner.network, second):
        assert all(parameter.grad is None for parameter in network.body.encoder.parameters())
        assert all(parameter.grad is not None for parameter in network.body.head.parameters())
