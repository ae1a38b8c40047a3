"""Adversarial features: gradients stay apart, unknown pixels do not count, and regions come to look alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.methods import a_batch, make
from torch.nn.functional import softplus

from geoseg.training.methods.discriminator import Discriminator, Judged
from geoseg.training.methods.fcan import Fcan, make_feature_discriminator
from geoseg.training.methods.method import LABELLED, UNLABELLED
from geoseg.training.windows.random_windows import WindowBatch


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def a_method(folder: Path) -> Fcan:
    method, _ = make("fcan", folder)
    assert isinstance(method, Fcan)
    return method


def test_the_losses_are_cross_entropies_of_known_features(tmp_path: Path) -> None:
    discriminator = Discriminator(torch.nn.Identity())
    maps, known = torch.randn(2, 1, 4, 4, generator=generator()), torch.rand(2, 4, 4, generator=generator()) > 0.5
    others = torch.randn(2, 1, 4, 4, generator=generator().manual_seed(1))
    logits, other_logits = maps[:, 0][known], others[:, 0][known]
    wanted = (softplus(-logits).mean() + softplus(other_logits).mean()) / 2
    found = discriminator.judging_loss(Judged(maps, known), Judged(others, known))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    deceiving = discriminator.deceiving_loss(Judged(others, known))
    assert deceiving.item() == pytest.approx(softplus(-other_logits).mean().item(), rel=1e-5)


def test_in_a_step_each_gets_the_gradient_of_its_own_losses(tmp_path: Path) -> None:
    method = a_method(tmp_path)
    network, discriminator = method.setup.network, method.discriminator
    loss = method.loss(a_batch(), generator())
    loss.value.backward()
    together = [parameter.grad.clone() for parameter in discriminator.parameters()]
    of_network = [parameter.grad.clone() for parameter in network.parameters()]
    method.zero_grad()
    network.zero_grad()
    method.loss(a_batch(), generator()).figures["discriminator"].backward()
    assert all(torch.equal(p.grad, one) for p, one in zip(discriminator.parameters(), together, strict=True))
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in network.parameters())
    discriminator.requires_grad_(False)  # its own loss is gone, what it gives the network stays
    method.loss(a_batch(), generator()).value.backward()
    assert all(torch.allclose(p.grad, one) for p, one in zip(network.parameters(), of_network, strict=True))


def test_windows_without_known_pixels_have_no_loss_but_that_of_the_others(tmp_path: Path) -> None:
    method, batch = a_method(tmp_path), a_batch()
    empty = WindowBatch(batch[UNLABELLED].image, torch.full_like(batch[UNLABELLED].labels, 255))
    found = method.loss({LABELLED: batch[LABELLED], UNLABELLED: empty}, generator())
    assert found.figures["unlabelled"] == 0
    assert found.value.item() == pytest.approx((found.figures["labelled"] + found.figures["discriminator"]).item())


def test_features_of_a_brighter_region_come_to_be_taken_for_labelled_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    discriminator = make_feature_discriminator(3, 8)
    known = torch.ones(4, 16, 16, dtype=torch.bool)
    own, others = torch.rand(4, 3, 16, 16, generator=generator()), 2 + torch.rand(4, 3, 16, 16, generator=generator())
    shift = torch.zeros(3, 1, 1, requires_grad=True)
    optimizer = torch.optim.Adam([*discriminator.parameters(), shift], lr=0.05)
    for _ in range(150):
        moved = Judged(others + shift, known)
        loss = discriminator.deceiving_loss(moved) + discriminator.judging_loss(Judged(own, known), moved)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert abs(shift.mean().item() + 2) < 1
