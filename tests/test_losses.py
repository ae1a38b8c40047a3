"""Losses against values worked out by hand."""

import math

import pytest
import torch

from geoseg.losses import cross_entropy, dice, total_loss
from geoseg.spec import IGNORE, LossSpec

NEVER = torch.full((1, 2, 2), IGNORE)


def logits_of(shares: list[list[float]]) -> torch.Tensor:
    """Logits (1, K, 1, W) whose softmax gives these shares, one list per pixel."""
    return torch.tensor(shares).log().T.reshape(1, len(shares[0]), 1, len(shares))


def labels_of(*indexes: int) -> torch.Tensor:
    return torch.tensor(indexes).reshape(1, 1, -1)


def test_cross_entropy_is_the_mean_over_valid_pixels() -> None:
    logits = logits_of([[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    found = cross_entropy(logits, labels_of(0, 1, IGNORE))
    assert found.item() == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2)


def test_label_smoothing_spreads_the_target() -> None:
    found = cross_entropy(logits_of([[0.2, 0.8]]), labels_of(1), 0.1)
    assert found.item() == pytest.approx(-(0.95 * math.log(0.8) + 0.05 * math.log(0.2)))


def test_dice_by_hand() -> None:
    logits = logits_of([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]])
    found = dice(logits, labels_of(0, 1, IGNORE))
    first = 1 - 2 * 0.5 / (0.7 + 1)
    second = 1 - 2 * 0.8 / (1.3 + 1)
    assert found.item() == pytest.approx((first + second) / 2)


def test_dice_leaves_out_classes_that_are_absent() -> None:
    two, three = logits_of([[0.5, 0.5]]), logits_of([[0.5, 0.5, 1e-9]])
    assert dice(three, labels_of(0)).item() == pytest.approx(dice(two, labels_of(0)).item())


def test_weights_are_summed() -> None:
    logits, labels = logits_of([[0.5, 0.5], [0.2, 0.8]]), labels_of(0, 1)
    found = total_loss(logits, labels, LossSpec(cross_entropy=2.0, dice=0.5))
    assert found.item() == pytest.approx(2 * cross_entropy(logits, labels).item() + 0.5 * dice(logits, labels).item())


@pytest.mark.parametrize(
    "spec", [LossSpec(), LossSpec(dice=0), LossSpec(cross_entropy=0), LossSpec(label_smoothing=0.1)]
)
def test_a_batch_without_a_valid_pixel_costs_nothing(spec: LossSpec) -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = total_loss(logits, NEVER, spec)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss", [cross_entropy, dice])
def test_each_loss_alone_survives_a_batch_without_a_valid_pixel(loss) -> None:
    assert loss(torch.randn(1, 3, 2, 2), NEVER).item() == 0


def test_ignored_pixels_have_no_gradient() -> None:
    logits = torch.randn(1, 3, 1, 2, requires_grad=True)
    total_loss(logits, labels_of(1, IGNORE), LossSpec(label_smoothing=0.1)).backward()
    assert logits.grad is not None
    assert (logits.grad[..., 1] == 0).all()
    assert (logits.grad[..., 0] != 0).all()


def test_half_precision_logits_give_a_full_precision_loss() -> None:
    loss = total_loss(torch.randn(1, 3, 2, 2, dtype=torch.bfloat16), torch.zeros(1, 2, 2, dtype=torch.long), LossSpec())
    assert loss.dtype == torch.float32
