"""Labels that are sets of classes: losses of pixels sum their probabilities, all others leave these pixels out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.losses.combined import SegmentationLoss, make_loss
from geoseg.losses.loss import LOSSES
from geoseg.losses.pixelwise import PixelwiseLoss
from geoseg.spec import IGNORE, LossSpec

K = 5
ALL = tuple(range(K))
BY_PIXEL = [name for name in LOSSES.names if issubclass(LOSSES.get(name), PixelwiseLoss)]
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0, 1.5])


def batch(labels: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of probabilities (2, K, 6, 6) that want a gradient, and labels (2, 6, 6) below a number, or IGNORE."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, labels, (2, 6, 6), generator=random)
    drawn[torch.rand(drawn.shape, generator=random) < 0.2] = IGNORE
    return (2 * torch.randn(2, K, 6, 6, generator=random)).log_softmax(dim=1).requires_grad_(), drawn


def value_and_gradient(name, logs, labels, sets, weights=None, **parameters):
    logs = logs.detach().requires_grad_()
    value = make_loss(name, parameters).of_sets(logs, labels, weights, sets)
    value.backward()
    return value.detach(), logs.grad


@pytest.mark.parametrize("name", BY_PIXEL)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_set_of_one_class_is_that_class(name, weights):
    logs, labels = batch(K + 1)
    found = value_and_gradient(name, logs, labels, ((3,),), weights)
    torch.testing.assert_close(found, value_and_gradient(name, logs, labels.where(labels != K, 3), ((0, 1),), weights))


@pytest.mark.parametrize("name", BY_PIXEL)
def test_a_set_of_all_classes_costs_nothing_and_teaches_nothing(name):
    logs, labels = batch(K)
    free = torch.where(labels == 2, K, labels)
    _, gradient = value_and_gradient(name, logs, free, (ALL,))
    value, _ = value_and_gradient(name, logs, torch.full_like(labels, K), (ALL,))
    assert value.item() == pytest.approx(0, abs=1e-6)
    # Of logits, not of their logarithms: what is added to all of them changes no probability.
    at_free = gradient.movedim(1, -1)[free == K]
    of_logits = at_free - logs.detach().exp().movedim(1, -1)[free == K] * at_free.sum(dim=-1, keepdim=True)
    torch.testing.assert_close(of_logits, torch.zeros_like(of_logits), atol=1e-6, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, K - 1), min_size=1), st.integers(0, 1000))
def test_cross_entropy_of_a_set_is_minus_the_logarithm_of_its_probability(members, seed):
    logs, labels = batch(1, seed)
    labels = labels.where(labels == IGNORE, K)
    found, _ = value_and_gradient("cross_entropy", logs, labels, (tuple(members),))
    chance = logs.detach().exp()[:, sorted(members)].sum(dim=1)[labels == K]
    torch.testing.assert_close(found, -chance.log().mean(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in LOSSES.names if name not in BY_PIXEL])
def test_losses_of_areas_leave_sets_out(name):
    logs, labels = batch(K + 2)
    found = value_and_gradient(name, logs, labels, ((0, 1), (2, 3, 4)))
    without = labels.where(labels < K, IGNORE)
    torch.testing.assert_close(found, value_and_gradient(name, logs, without, ((0, 1),)))


def test_smoothed_targets_of_a_set_are_spread_over_the_classes_and_over_no_set():
    logs, labels = batch(K + 1)
    found, _ = value_and_gradient("cross_entropy", logs, labels, ((3,), (0, 1)), label_smoothing=0.1)
    plain = make_loss("cross_entropy", {"label_smoothing": 0.1})(logs, labels.where(labels != K, 3), None)
    torch.testing.assert_close(found, plain.detach())


def test_the_sum_of_losses_takes_sets_and_a_batch_of_them_alone():
    logs, labels = batch(K + 1)
    loss = SegmentationLoss(LossSpec(cross_entropy=1, dice=1), [1] * K, ((0, 4),))
    assert loss(logs, labels).isfinite()
    logs, labels = batch(1)
    found = loss(logs, labels.where(labels == IGNORE, K))
    found.backward()
    assert logs.grad.isfinite().all()
