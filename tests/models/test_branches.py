"""The contract of branches, held by every kind that is registered: alone they change nothing, and they learn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from support.branches import SMALL, VARIANTS, CrossEntropy
from support.models import class_specs, make_spec

from geoseg.models.branches import BRANCHES
from geoseg.models.build import build_network
from geoseg.models.bundle import load_model, save_model
from geoseg.models.surroundings import NO_CONTEXT, NO_VIEWS, Views
from geoseg.models.training_batch import LabelledWindows
from geoseg.models.weights.start import start_from
from geoseg.spec import ModelSpec

BANDS = ("red", "green", "blue")
SIDE = 32
NAMES = list(VARIANTS)


def a_spec(kind: str, **changes: Any) -> ModelSpec:
    return make_spec(bands=BANDS, network=SMALL, tile=64, overlap=16, **VARIANTS[kind] | changes)


def parts(kind: str) -> Mapping[str, str]:
    return BRANCHES.get(a_spec(kind).branch.kind).parts


def a_network(kind: str):
    torch.manual_seed(0)
    return build_network(a_spec(kind))


def windows(kind: str) -> LabelledWindows:
    """Two windows and, if the branch has levels, what these show around them."""
    generator, levels = torch.Generator().manual_seed(0), a_spec(kind).branch.levels
    images = tuple(torch.rand(2, len(BANDS) + 1, SIDE, SIDE, generator=generator) for _ in levels)
    boxes = tuple(torch.tensor([[0.375, 0.375, 0.625, 0.625]] * 2) for _ in levels)
    labels = [torch.randint(4, (2, SIDE, SIDE), generator=generator) for _ in (0, *levels)]
    image = torch.rand(2, len(BANDS), SIDE, SIDE, generator=generator)
    return LabelledWindows(image, labels[0], Views(images, boxes), tuple(labels[1:]))


class Noting(CrossEntropy):
    """Notes with which labels logits are compared."""

    def __init__(self) -> None:
        self.labels: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.labels.append(labels)
        return super().__call__(logits, labels)

    of_windows = __call__


def test_every_kind_is_among_them() -> None:
    assert {a_spec(kind).branch.kind for kind in NAMES} == set(BRANCHES)


@pytest.mark.parametrize("kind", NAMES)
def test_logits_of_windows_are_compared_once_with_the_very_labels_of_the_batch(kind: str) -> None:
    batch, criterion = windows(kind), Noting()
    a_network(kind).training_loss(batch, criterion, a_network(kind).eval(), torch.Generator())
    assert sum(labels is batch.labels for labels in criterion.labels) == 1


@pytest.mark.parametrize("kind", NAMES)
def test_with_nothing_around_it_is_the_network_without_it(kind: str) -> None:
    network, image = a_network(kind).eval(), windows(kind).image
    with torch.inference_mode():
        alone = network.body(network.normalize(image))
        assert torch.equal(network(image), alone)
        assert torch.equal(network(image, NO_CONTEXT), alone)
        assert torch.equal(network(image, network.see(NO_VIEWS)), alone)


@pytest.mark.parametrize("kind", NAMES)
def test_its_parts_are_all_that_it_adds_to_the_weights(kind: str) -> None:
    prefixes = tuple(f"{part}." for part in parts(kind))
    added = [name for name in a_network(kind).state_dict() if not name.startswith(("body.", "normalize."))]
    assert all(name.startswith(prefixes) for name in added)
    assert bool(added) == bool(prefixes)


@pytest.mark.parametrize("kind", NAMES)
def test_it_learns_from_a_batch(kind: str) -> None:
    network, averaged = a_network(kind), a_network(kind).eval()
    before = {name: tensor.clone() for name, tensor in network.named_parameters()}
    loss = network.training_loss(windows(kind), CrossEntropy(), averaged, torch.Generator().manual_seed(0))
    assert loss.shape == ()
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    frozen = {id(p) for part in network.frozen_parts for p in part.parameters()}
    assert moved.isdisjoint(name for name, p in network.named_parameters() if id(p) in frozen)
    learning = {name.partition(".")[0] for name, p in network.named_parameters() if id(p) not in frozen}
    assert {name.partition(".")[0] for name in moved} == learning >= {"body"}


@pytest.mark.parametrize("kind", NAMES)
def test_a_bundle_keeps_it_and_another_network_starts_from_it(kind: str, tmp_path: Path) -> None:
    network, spec = a_network(kind), a_spec(kind)
    path = save_model(network, spec, tmp_path / "m.safetensors")
    found = load_model(path).module.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items())
    torch.manual_seed(1)
    fresh = build_network(spec)
    assert start_from(fresh, spec, path) == "all weights of test"
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("kind", NAMES)
def test_its_weights_are_left_where_they_would_mean_something_else(kind: str, tmp_path: Path) -> None:
    path = save_model(a_network(kind), a_spec(kind), tmp_path / "m.safetensors")
    spec = a_spec(kind).model_copy(update={"classes": tuple(class_specs(5))})
    account = start_from(build_network(spec), spec, path)
    assert [part for part in parts(kind).values() if part not in account] == []


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "plain"])
def test_another_kind_is_new(kind: str, tmp_path: Path) -> None:
    path = save_model(a_network("plain"), a_spec("plain"), tmp_path / "m.safetensors")
    account = start_from(a_network(kind), a_spec(kind), path)
    assert account == f"all weights of test; new: {', '.join(parts(kind).values())}"


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "plain"])
def test_a_network_without_it_says_that_it_is_left_out(kind: str, tmp_path: Path) -> None:
    path = save_model(a_network(kind), a_spec(kind), tmp_path / "m.safetensors")
    account = start_from(a_network("plain"), a_spec("plain"), path)
    assert account == f"weights of test; left out: {', '.join(parts(kind).values())}"
