"""Pixel contrast: what is in the memory bank, in which order, and the distance to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.labelled_tiles import SMALL
from support.methods import a_batch, make, small_data
from torch.nn import functional

from geoseg.core.errors import SpecError
from geoseg.models.families import FAMILIES
from geoseg.spec import IGNORE, TrainSpec, parse_spec
from geoseg.training.methods.contrastive import Contrastive
from geoseg.training.methods.memory_bank import MemoryBank, draw_pixels
from geoseg.training.methods.method import LABELLED, check_method


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_first_feature_in_is_the_first_out() -> None:
    bank = MemoryBank(2, 3, 2)
    angles = torch.arange(1, 6) / 10
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    bank.put(features[:2], torch.tensor([0, 0]))
    bank.put(7 * features[2:4], torch.tensor([0, 0]))
    kept = bank.features[0][bank.features[0][:, 1].argsort()]
    assert torch.allclose(kept, features[1:4])
    assert not bank.features[1].any()
    bank.put(features, torch.zeros(5, dtype=torch.int64))
    assert torch.allclose(bank.features[0][bank.features[0][:, 1].argsort()], features[2:])


def test_the_loss_is_the_mean_distance_to_the_features_of_the_own_class() -> None:
    bank = MemoryBank(3, 4, 5)
    stored, classes = torch.randn(6, 5, generator=generator()), torch.tensor([0, 1, 0, 1, 1, 0])
    bank.put(stored, classes)
    features = torch.randn(7, 5, generator=generator())
    given = torch.tensor([0, 0, 0, 1, 1, 2, 2])  # of class 2 the bank has nothing
    distances = 1 - functional.cosine_similarity(features.unsqueeze(1), stored.unsqueeze(0), dim=2)
    wanted = torch.stack([distances[given == k][:, classes == k].mean() for k in (0, 1)]).mean()
    assert torch.allclose(bank.loss(features, given), wanted)
    assert MemoryBank(3, 4, 5).loss(features, given) == 0
    assert bank.loss(features[:0], given[:0]) == 0


def test_as_many_pixels_are_drawn_of_each_class_and_none_without_one() -> None:
    classes = torch.tensor([0] * 50 + [1] * 3 + [IGNORE] * 50 + [3] * 9)  # the last one is a set of classes
    drawn = draw_pixels(classes, 3, 5, generator())
    assert torch.bincount(classes[drawn]).tolist() == [5, 3]
    assert len(set(drawn.tolist())) == 8


def test_the_bank_holds_labelled_pixels_alone_that_are_classified_correctly_and_surely(tmp_path: Path) -> None:
    method, setup = make("contrastive", tmp_path, sure=0.6, kept=10_000, pixels=10_000)
    assert isinstance(method, Contrastive)
    windows = a_batch()[LABELLED].augmented(setup.augment, 32, generator())
    setup.network.train()
    with torch.no_grad():
        probability, classes = setup.network(windows.image).softmax(dim=1).max(dim=1)
    right = (classes == windows.labels) & (probability >= 0.6)
    assert 0 < right.sum() < (windows.labels != IGNORE).sum()
    setup.network(windows.image)
    method.unlabelled_loss(windows, windows, generator())
    for index, count in enumerate(method.bank.given.tolist()):
        wanted = right & (windows.labels == index)
        assert count == wanted.sum()
        with torch.no_grad():
            pixels = setup.network.normalize(windows.image).movedim(1, -1)[wanted]
            features = functional.normalize(method.teacher_projection(pixels), dim=1)
        assert torch.allclose(method.bank.features[index, :count].sum(dim=0), features.sum(dim=0), atol=1e-3)


def test_the_contrast_trains_network_and_heads_but_not_those_of_the_teacher(tmp_path: Path) -> None:
    method, _ = make("contrastive", tmp_path, sure=0.0, weight=1.0)
    assert isinstance(method, Contrastive)
    loss = method.loss(a_batch(), generator())
    assert loss.figures["contrast"] > 0
    loss.value.backward()
    before = [parameter.clone() for parameter in method.teacher_projection.parameters()]
    assert all(p.grad is not None for head in (method.projection, method.prediction) for p in head.parameters())
    with torch.no_grad():
        method.projection[0].weight.add_(1)
    method.after_step()
    after = list(method.teacher_projection.parameters())
    assert not torch.equal(before[0], after[0])
    assert all(parameter.grad is None for parameter in after)


def test_a_network_that_classifies_masks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    family = FAMILIES.get("pointwise")
    of_masks = replace(family.info("pointwise"), takes_context=False)
    monkeypatch.setattr(family, "info", lambda _: of_masks)
    run = SMALL | {"method": "contrastive", "data": small_data("contrastive")}
    with pytest.raises(SpecError, match="method contrastive: pointwise classifies masks and has no features of pixels"):
        check_method(parse_spec(TrainSpec, run, source="test"))
