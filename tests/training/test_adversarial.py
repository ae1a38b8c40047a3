"""Adversarial training: neither network nor discriminator gets gradients of the other; unknown pixels do not count."""

from __future__ import annotations

from pathlib import Path

import torch
from support.methods import a_batch, make

from geoseg.spec import IGNORE
from geoseg.training.methods.adversarial import Adversarial
from geoseg.training.methods.discriminator import make_discriminator


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def a_method(folder: Path) -> Adversarial:
    method, _ = make("adversarial", folder)
    assert isinstance(method, Adversarial)
    return method


def some_maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Maps with a gradient, and labels, of which some are unknown."""
    maps = torch.rand(2, 2, 32, 32, generator=generator()).softmax(dim=1).requires_grad_()
    labels = torch.randint(2, (2, 32, 32), generator=generator())
    return maps, labels.masked_fill(torch.rand(2, 32, 32, generator=generator()) < 0.3, IGNORE)


def test_deceiving_the_discriminator_does_not_train_it(tmp_path: Path) -> None:
    method, (maps, labels) = a_method(tmp_path), some_maps()
    method.deceiving_loss(maps, labels != IGNORE).backward()
    assert maps.grad is not None
    assert maps.grad.any()
    assert all(parameter.grad is None for parameter in method.discriminator.parameters())


def test_the_discriminators_loss_does_not_reach_the_maps(tmp_path: Path) -> None:
    method, (maps, labels) = a_method(tmp_path), some_maps()
    method.judging_loss(maps, labels).backward()
    assert maps.grad is None
    assert all(parameter.grad is not None for parameter in method.discriminator.parameters())


def test_in_a_whole_step_each_gets_the_gradient_of_its_own_losses(tmp_path: Path) -> None:
    method = a_method(tmp_path)
    network, discriminator = method.setup.network, method.discriminator
    method.loss(a_batch(), generator()).value.backward()
    together = [parameter.grad.clone() for parameter in discriminator.parameters()]
    of_network = [parameter.grad.clone() for parameter in network.parameters()]
    method.zero_grad()
    method.loss(a_batch(), generator()).figures["discriminator"].backward()
    assert all(torch.equal(p.grad, one) for p, one in zip(discriminator.parameters(), together, strict=True))
    network.zero_grad()
    discriminator.requires_grad_(False)  # its own loss is gone, what it gives the network stays
    method.loss(a_batch(), generator()).value.backward()
    assert all(torch.allclose(p.grad, one) for p, one in zip(network.parameters(), of_network, strict=True))


def test_unknown_pixels_count_in_neither_loss(tmp_path: Path) -> None:
    method, (maps, labels) = a_method(tmp_path), some_maps()
    known = labels != IGNORE
    other = maps.where(known.unsqueeze(1), torch.rand(maps.shape, generator=generator()))
    assert torch.equal(method.judging_loss(maps, labels), method.judging_loss(other, labels))
    assert torch.equal(method.deceiving_loss(maps, known), method.deceiving_loss(other, known))
    of_several_classes = labels.where(known, maps.shape[1])
    assert torch.equal(method.judging_loss(maps, labels), method.judging_loss(maps, of_several_classes))
    nothing = torch.full_like(labels, IGNORE)
    assert method.judging_loss(maps, nothing) == method.deceiving_loss(maps, nothing != IGNORE) == 0


def test_the_discriminator_learns_to_know_labels_from_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method, (maps, labels) = a_method(tmp_path), some_maps()
    optimizer = torch.optim.Adam(method.discriminator.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        loss = method.judging_loss(maps, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_discriminator_takes_windows_of_any_size_from_32_px() -> None:
    discriminator = make_discriminator(3)
    assert discriminator(torch.rand(1, 3, 32, 32)).shape == (1, 1, 1, 1)
    assert discriminator(torch.rand(1, 3, 100, 80)).shape == (1, 1, 3, 2)
