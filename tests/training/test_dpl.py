"""Dual path learning: each network learns the look that it knows, and both learn the mean of their answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.labelled_tiles import SMALL
from support.methods import a_batch, make

from geoseg.core.errors import SpecError
from geoseg.models.training_batch import LabelledWindows
from geoseg.spec import TrainSpec, parse_spec
from geoseg.training.methods.dpl import DualPath
from geoseg.training.methods.method import LABELLED, UNLABELLED, check_method
from geoseg.training.methods.unlabelled import logits_of, targets_of
from geoseg.training.perturbations.class_thresholds import histogram, quantiles
from geoseg.training.perturbations.targets import Targets


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def a_method(folder: Path, **parameters: object) -> DualPath:
    method, _ = make("dpl", folder, **parameters)
    assert isinstance(method, DualPath)
    return method


def windows(method: DualPath, kind: str) -> LabelledWindows:
    return a_batch()[kind].augmented(method.setup.augment, 32, generator())


def test_the_second_network_learns_labelled_windows_in_their_own_look(tmp_path: Path) -> None:
    method = a_method(tmp_path)
    given = windows(method, LABELLED)
    styled = replace(given, image=given.image * 0.5 + 20)
    found = method.labelled_loss(styled, generator()).value
    wanted = method.criterion(logits_of(method.setup.network, styled.image), given.labels)
    wanted = wanted + method.second_criterion(logits_of(method.second, given.image), given.labels)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-4)


def test_both_learn_sure_classes_of_the_mean_of_their_answers_each_in_its_look(tmp_path: Path) -> None:
    method = a_method(tmp_path, taken=0.6, cap=0.95)
    labelled, target = windows(method, LABELLED), windows(method, UNLABELLED)
    found = method.unlabelled_loss(labelled, target, generator())
    back = method.style.back(target, labelled, generator())
    assert not torch.allclose(back, target.image)
    networks = method.setup.network, method.second
    answers = [
        targets_of(one, replace(target, plain=own)) for one, own in zip(networks, (target.plain, back), strict=True)
    ]
    taught = Targets((answers[0].probabilities + answers[1].probabilities) / 2, target.unlabelled)
    thresholds = quantiles(histogram(taught, 2), 0.4).clamp(max=0.95)
    assert torch.equal(method.thresholds, thresholds)
    passing = taught.passing(thresholds)
    assert found.figures["confident"].item() == pytest.approx(passing.float().mean().item())
    wanted = sum(
        taught.class_loss(logits_of(one, image), passing.float())
        for one, image in zip(networks, (target.image, back), strict=True)
    )
    assert found.value.item() == pytest.approx(torch.as_tensor(wanted).item(), rel=1e-4)


def test_surroundings_are_refused_without_naming_a_style_that_it_cannot_do_without() -> None:
    data = SMALL["data"] | {"target": "more.tif"}
    run = SMALL | {"method": "dpl", "data": data, "tile": 128, "context": {"levels": [{"ratio": 4, "size": 64}]}}
    with pytest.raises(
        SpecError, match="method dpl learns windows in two looks, and their surroundings have one: take"
    ):
        check_method(parse_spec(TrainSpec, run, source="test"))


def test_windows_in_one_look_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"method dpl learns windows in two looks: give a style, e\.g\. fourier"):
        make("dpl", tmp_path, style="none")
