"""What every registered loss keeps, also one of another package that is installed."""

import pytest
import torch
from torch.nn import functional

from geoseg.losses.combined import SegmentationLoss, make_loss
from geoseg.losses.loss import LOSSES, Loss
from geoseg.spec import IGNORE, LossSpec

pytestmark = pytest.mark.parametrize("name", LOSSES.names)
K = 4


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, K, 6, 6) and labels (2, 6, 6), a fifth of which is not labelled."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, K, (2, 6, 6), generator=random)
    labels[torch.rand(labels.shape, generator=random) < 0.2] = IGNORE
    return 2 * torch.randn(2, K, 6, 6, generator=random), labels


def value(loss: Loss, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    return loss(logits.log_softmax(dim=1), labels, weights)


def test_it_is_a_finite_scalar_whose_gradient_flows(name):
    logits, labels = batch()
    found = value(make_loss(name, {}), logits.requires_grad_(), labels)
    found.backward()
    assert (found.shape, found.dtype, bool(found > 0)) == ((), torch.float32, True)
    assert logits.grad.isfinite().all()
    assert (logits.grad != 0).any()


def test_pixels_without_a_label_have_no_gradient(name):
    logits, labels = batch()
    value(make_loss(name, {}), logits.requires_grad_(), labels).backward()
    assert (logits.grad[(labels == IGNORE).unsqueeze(1).expand_as(logits)] == 0).all()


def test_a_batch_without_a_label_costs_nothing_and_teaches_nothing(name):
    logits, labels = batch()
    found = value(make_loss(name, {}), logits.requires_grad_(), torch.full_like(labels, IGNORE))
    found.backward()
    assert found.item() == 0
    assert (logits.grad == 0).all()


def test_it_falls_as_logits_get_better(name):
    logits, labels = batch()
    truth = functional.one_hot(labels.where(labels != IGNORE, 0), K).permute(0, 3, 1, 2)
    values = [value(make_loss(name, {}), logits + better * truth, labels).item() for better in (0, 2, 5, 30)]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[1]


def test_only_the_proportions_of_class_weights_count(name):
    logits, labels = batch()
    loss, weights = make_loss(name, {}), torch.tensor([0.5, 1.0, 2.0, 4.0])
    torch.testing.assert_close(value(loss, logits, labels, torch.ones(K)), value(loss, logits, labels))
    torch.testing.assert_close(value(loss, logits, labels, 3 * weights), value(loss, logits, labels, weights))


def test_a_class_that_weighs_nothing_teaches_nothing_unless_all_weigh_alike(name):
    logits, labels = batch()
    loss, weights = make_loss(name, {}), torch.tensor([0.0, 1.0, 2.0, 4.0])
    found = value(loss, logits.requires_grad_(), labels, weights)
    found.backward()
    is_ignored = (logits.grad[(labels == 0).unsqueeze(1).expand_as(logits)] == 0).all()
    assert is_ignored or found.item() == value(loss, logits, labels).item()


def test_a_config_can_name_it_alone_and_half_precision_logits_do(name):
    logits, labels = batch()
    spec = LossSpec.model_validate({"cross_entropy": 0, "dice": 0} | {name: {"weight": 2.0}})
    assert list(spec.terms) == [name]
    assert LossSpec.model_validate(spec.model_dump(mode="json")) == spec
    found = SegmentationLoss(spec, [1] * K)(logits.bfloat16(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, 2 * value(make_loss(name, {}), logits.bfloat16().float(), labels))
