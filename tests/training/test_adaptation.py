"""Methods that go to a target: entropy, a discriminator of where it is low, labelled pixels pasted into the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio
import torch
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.methods import STILL, a_batch, make

from geoseg.commands.train import train
from geoseg.spec import IGNORE
from geoseg.training.methods.advent import AdvEnt
from geoseg.training.methods.dacs import mixed_loss
from geoseg.training.methods.entropy import entropy, information, sureness
from geoseg.training.methods.method import UNLABELLED
from geoseg.training.perturbations.mixing import half_of_classes
from geoseg.training.perturbations.targets import Targets


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def some_logits(classes: int = 4) -> torch.Tensor:
    return 3 * torch.randn(2, classes, 16, 16, generator=generator())


# -------------------------------------------------------------------------------------------------------------- entropy


@pytest.mark.parametrize("classes", [2, 5])
def test_entropy_lies_between_that_of_certainty_and_that_of_ignorance(classes: int) -> None:
    logits = some_logits(classes)
    assert 0 <= entropy(logits).min() <= entropy(logits).max() <= 1
    torch.testing.assert_close(information(logits).sum(dim=1), entropy(logits))
    torch.testing.assert_close(entropy(torch.zeros_like(logits)), torch.ones(2, 16, 16))
    certain = 1e4 * torch.nn.functional.one_hot(logits.argmax(dim=1), classes).movedim(-1, 1).float()
    assert not entropy(certain).any()


def test_entropy_has_a_gradient_wherever_it_is_defined() -> None:
    logits = torch.tensor([0.0, 1e4, -1e4]).view(1, 3, 1, 1).repeat(1, 1, 2, 2).requires_grad_()
    entropy(logits).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_pixels_without_data_are_neither_sure_nor_unsure() -> None:
    logits, counted = some_logits(), torch.rand(2, 16, 16, generator=generator()) > 0.5
    other = logits.where(counted.unsqueeze(1), torch.zeros(()))
    for figure in ("confident", "entropy"):
        torch.testing.assert_close(sureness(logits, counted)[figure], sureness(other, counted)[figure])


@pytest.mark.parametrize(("eta", "power"), [(0.5, 1), (2.0, 4)])
def test_the_loss_is_the_mean_entropy_or_a_power_of_it(eta: float, power: int, tmp_path: Path) -> None:
    method, setup = make("minent", tmp_path, eta=eta)
    loss = method.loss(a_batch(), generator())
    windows = a_batch()[UNLABELLED].augmented(setup.augment, 32, generator())  # turned otherwise, which changes no mean
    of_pixels = entropy(setup.network(windows.image))
    torch.testing.assert_close(loss.figures["unlabelled"], (of_pixels**power).mean(), atol=1e-3, rtol=0)
    torch.testing.assert_close(loss.figures["entropy"], of_pixels.mean(), atol=1e-3, rtol=0)


def test_without_a_weight_windows_of_the_target_leave_no_gradient(tmp_path: Path) -> None:
    (method, setup), (supervised, alone) = make("minent", tmp_path, weight=0), make("supervised", tmp_path)
    for one in (method, supervised):
        one.loss(a_batch(), generator()).value.backward()
    pairs = zip(setup.network.parameters(), alone.network.parameters(), strict=True)
    assert all(torch.equal(own.grad, other.grad) for own, other in pairs)


# --------------------------------------------------------------------------------------------------------------- advent


def test_network_and_discriminator_get_the_gradients_of_their_own_losses_alone(tmp_path: Path) -> None:
    method, setup = make("advent", tmp_path, weight=1.0)
    assert isinstance(method, AdvEnt)
    network, discriminator = setup.network, method.discriminator
    method.loss(a_batch(), generator()).value.backward()
    of_network = [parameter.grad.clone() for parameter in network.parameters()]
    of_discriminator = [parameter.grad.clone() for parameter in discriminator.parameters()]
    network.zero_grad()
    method.zero_grad()
    method.loss(a_batch(), generator()).figures["discriminator"].backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(p.grad, one) for p, one in zip(discriminator.parameters(), of_discriminator, strict=True))
    method.zero_grad()
    found = method.loss(a_batch(), generator())
    (found.figures["labelled"] + found.figures["unlabelled"]).backward()
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(torch.allclose(p.grad, one) for p, one in zip(network.parameters(), of_network, strict=True))
    assert any(one.any() for one in of_network)


# ----------------------------------------------------------------------------------------------------------------- dacs


def test_pasted_pixels_count_whole_and_others_by_the_share_of_sure_ones() -> None:
    logits, labels = some_logits(), torch.randint(4, (2, 16, 16), generator=generator())
    targets = Targets(some_logits().flip(1).softmax(dim=1), torch.rand(2, 16, 16, generator=generator()) > 0.3)
    masks = torch.rand(2, 16, 16, generator=generator().manual_seed(9)) > 0.5
    sure = torch.tensor(0.25)
    losses = torch.nn.functional.cross_entropy(logits, targets.classes.where(~masks, labels), reduction="none")
    own, others = losses[masks], losses[~masks & targets.counted]
    wanted = (own.sum() + 0.25 * others.sum()) / (len(own) + len(others))
    torch.testing.assert_close(mixed_loss(logits, targets, labels, masks, sure), wanted)


def test_half_of_the_labelled_classes_are_pasted_and_the_only_one_of_a_window_as_well() -> None:
    labels = torch.full((2, 8, 8), IGNORE)
    labels[0, :4] = 1
    labels[1, 0], labels[1, 1], labels[1, 2] = 0, 1, 2
    masks = half_of_classes(labels, labels != IGNORE, 3, generator(), rounds_up=True)
    assert torch.equal(masks[0], labels[0] == 1)
    assert len(labels[1][masks[1]].unique()) == 2
    assert not masks[labels == IGNORE].any()


def test_without_labels_nothing_is_pasted_and_without_sure_pixels_nothing_else_is_learnt(tmp_path: Path) -> None:
    method, setup = make("dacs", tmp_path)
    with torch.no_grad():
        for parameter in setup.network.parameters():
            parameter.zero_()  # all classes are equally likely
    batch = a_batch()
    batch = {kind: one._replace(labels=torch.full_like(one.labels, IGNORE)) for kind, one in batch.items()}
    batch[UNLABELLED] = a_batch()[UNLABELLED]
    loss = method.loss(batch, generator())
    assert loss.figures["confident"] == loss.figures["unlabelled"] == 0


# ------------------------------------------------------------------------------------------------------- another region


def write_two_regions(folder: Path) -> dict[str, Any]:
    """Labelled tiles, a validation tile of another region, whose bands are all brighter, and an image of that one."""
    write_tiles(folder, splits="train val more")
    rows = (folder / "tiles.csv").read_text().splitlines()
    (folder / "tiles.csv").write_text("\n".join(rows[:-1]))
    for name in ("val.tif", "more.tif"):
        with rasterio.open(folder / name, "r+") as file:
            file.write(file.read() // 2 + 120)
    return SMALL["data"] | {"target": "more.tif"}


@pytest.mark.parametrize("method", ["style_transfer", "fda", {"name": "dacs", "style": "histogram"}])
def test_what_is_learnt_of_one_region_holds_in_another_that_looks_otherwise(method: Any, tmp_path: Path) -> None:
    data = write_two_regions(tmp_path)
    alone = train(write_config(tmp_path, data=data | {"target": ()}, augment=STILL), tmp_path / "alone").scores
    there = train(write_config(tmp_path, data=data, augment=STILL, method=method), tmp_path / "there").scores
    assert alone.miou < 0.5
    assert there.miou > 0.9
