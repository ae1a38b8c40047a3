"""Augmentation consistency: answers for parts lie where they belong, rare classes are learnt sooner and count more."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.methods import a_batch, make

from geoseg.training.methods.method import UNLABELLED
from geoseg.training.methods.sac import Sac, mean_probabilities
from geoseg.training.methods.unlabelled import targets_of
from geoseg.training.perturbations.enlarged import averaged_parts, draw_parts, inverse, resampled
from geoseg.training.perturbations.targets import Targets


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_method(folder: Path, **parameters: Any) -> Sac:
    method, _ = make("sac", folder, **parameters)
    assert isinstance(method, Sac)
    return method


def classify(image: torch.Tensor) -> torch.Tensor:
    """Logits (B, 2, h, w) that are linear in the values of the first band."""
    return torch.cat([image[:, :1], -image[:, :1]], dim=1)


def test_parts_lie_inside_of_their_windows_and_lead_back() -> None:
    matrices = draw_parts(500, 0.3, generator())
    corners = torch.tensor([[-1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]).T
    assert (matrices @ corners).abs().max() <= 1 + 1e-6
    sides = matrices[:, 0, 0].abs()
    assert sides.min() < 0.35
    assert sides.max() > 0.95
    assert {tuple(signs) for signs in matrices.diagonal(dim1=1, dim2=2).sign().int().tolist()} == {
        (1, 1),
        (1, -1),
        (-1, 1),
        (-1, -1),
    }
    last = torch.tensor([[[0.0, 0.0, 1.0]]]).expand(500, 1, 3)
    both = torch.cat([matrices, last], dim=1) @ torch.cat([inverse(matrices), last], dim=1)
    assert torch.allclose(both, torch.eye(3).expand(500, 3, 3), atol=1e-5)


def test_answers_for_parts_are_laid_back_to_where_they_belong() -> None:
    ramp = torch.linspace(-1, 1, 64)
    image = (ramp.view(1, 1, 1, -1) + 2 * ramp.view(1, 1, -1, 1)).expand(4, 1, 64, 64)
    whole = Targets(classify(image).softmax(dim=1), torch.ones(4, 64, 64, dtype=torch.bool))
    parts = [draw_parts(4, 0.5, generator(seed)) for seed in range(6)]
    found: Any = averaged_parts(classify, image, whole, parts)  # type: ignore[arg-type]
    assert (found.probabilities - whole.probabilities).abs().max() < 0.02
    assert torch.allclose(found.probabilities.sum(dim=1), torch.ones(4, 64, 64), atol=1e-5)


def test_a_mirrored_window_is_laid_back_exactly() -> None:
    image = torch.randn(2, 1, 16, 16, generator=generator())
    mirror = torch.tensor([[[-1.0, 0, 0], [0, -1.0, 0]]]).expand(2, 2, 3)
    assert torch.allclose(resampled(image, mirror, "zeros"), image.flip(-1, -2), atol=1e-5)
    assert torch.allclose(resampled(resampled(image, mirror, "border"), inverse(mirror), "zeros"), image, atol=1e-5)


def test_a_pixel_is_averaged_over_those_parts_that_show_it() -> None:
    calls = iter([0.9, 0.6])

    def answers(image: torch.Tensor) -> torch.Tensor:
        value = next(calls)
        return torch.tensor([value, 1 - value]).log().view(1, 2, 1, 1).expand(1, 2, 8, 8)

    whole = Targets(torch.tensor([0.2, 0.8]).view(1, 2, 1, 1).expand(1, 2, 8, 8), torch.ones(1, 8, 8, dtype=torch.bool))
    left = torch.tensor([[[0.5, 0, -0.5], [0, 1, 0]]])
    top = torch.tensor([[[1.0, 0, 0], [0, 0.5, -0.5]]])
    found = averaged_parts(answers, torch.zeros(1, 3, 8, 8), whole, [left, top]).probabilities[0, 0]  # type: ignore[arg-type]
    corners = {(0, 0): (0.2 + 0.9 + 0.6) / 3, (0, 7): (0.2 + 0.6) / 2, (7, 0): (0.2 + 0.9) / 2, (7, 7): 0.2}
    for place, wanted in corners.items():
        assert found[place].item() == pytest.approx(wanted, abs=1e-5)


def test_thresholds_are_those_of_the_paper_for_each_window_and_class(tmp_path: Path) -> None:
    method = a_method(tmp_path, threshold=0.75, least=0.2)
    method.prior.copy_(torch.tensor([0.999, 0.0005]))
    probabilities = torch.rand(3, 2, 8, 8, generator=generator()).softmax(dim=1)
    counted = torch.rand(3, 8, 8, generator=generator(1)) > 0.5
    found = method.thresholds(Targets(probabilities, counted))
    for window in range(3):
        for index, prior in enumerate((0.999, 0.0005)):
            highest = probabilities[window, index][counted[window]].max().item()
            wanted = max(0.75 * (1 - math.exp(-prior / 1e-3)) * highest, 0.2)
            assert found[window, index].item() == pytest.approx(wanted, abs=1e-5)
    passing = Targets(probabilities, counted).passing(found)
    confidence, classes = probabilities.max(dim=1)
    for window in range(3):
        assert torch.equal(passing[window], counted[window] & (confidence[window] >= found[window][classes[window]]))


def test_the_loss_weighs_sure_pixels_by_probability_and_by_how_rare_their_class_is(tmp_path: Path) -> None:
    method = a_method(tmp_path, parts=0, threshold=0.9, focus=3)
    windows = a_batch()[UNLABELLED].augmented(method.setup.augment, 32, generator())
    targets = targets_of(method.setup.averaged, windows)
    loss = method.unlabelled_loss(windows, windows, generator())
    prior = 0.1 * torch.tensor([0.5, 0.5]) + 0.9 * mean_probabilities(targets)  # the first step of the running mean
    assert torch.allclose(method.prior, prior, atol=1e-6)
    with torch.no_grad():
        logarithms = method.setup.network(windows.image).log_softmax(dim=1)
    confidence, classes = targets.probabilities.max(dim=1)
    sure = confidence >= method.thresholds(targets)[:, :, None, None].expand_as(logarithms).gather(
        1, classes.unsqueeze(1)
    ).squeeze(1)
    entropy = -logarithms.gather(1, classes.unsqueeze(1)).squeeze(1)
    wanted = (sure * confidence * (1 - prior[classes]) ** 3 * entropy).mean()
    assert loss.value.item() == pytest.approx(wanted.item(), rel=1e-4)
    assert loss.figures["confident"].item() == pytest.approx(sure.float().mean().item())


def test_the_prior_stays_where_no_pixel_holds_data(tmp_path: Path) -> None:
    method = a_method(tmp_path)
    batch = a_batch()[UNLABELLED]
    empty = type(batch)(batch.image, torch.full_like(batch.labels, 255))
    windows = empty.augmented(method.setup.augment, 32, generator())
    assert not windows.unlabelled.any()
    assert method.unlabelled_loss(windows, windows, generator()).value == 0
    assert torch.equal(method.prior, torch.tensor([0.5, 0.5]))


def test_smoothed_labels_call_for_no_notice_as_thresholds_follow_what_the_teacher_reaches(tmp_path: Path) -> None:
    method = a_method(tmp_path, threshold=1.0)
    spec = method.setup.spec
    smoothed = spec.loss.model_copy(update={"label_smoothing": 0.5})
    method.setup = replace(method.setup, spec=spec.model_copy(update={"loss": smoothed}))
    assert not method.notices({})
    assert super(Sac, method).notices({})
