"""Scores against values worked out by hand."""

import pytest
import torch

from geoseg.metrics import confusion_matrix, scores_of
from geoseg.spec import IGNORE


def test_scores_of_a_small_matrix() -> None:
    scores = scores_of(torch.tensor([[6, 2], [1, 3]]), ["grass", "water"])
    assert scores.iou == {"grass": pytest.approx(6 / 9, abs=1e-4), "water": pytest.approx(3 / 6)}
    assert scores.f1 == {"grass": pytest.approx(12 / 15), "water": pytest.approx(6 / 9, abs=1e-4)}
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(9 / 12)


def test_a_class_that_never_occurs_does_not_count() -> None:
    scores = scores_of(torch.tensor([[3, 0], [0, 0]]), ["grass", "water"])
    assert scores.miou == 1
    assert scores.iou["water"] is None


def test_no_pixel_at_all_scores_zero() -> None:
    scores = scores_of(torch.zeros(2, 2), ["grass", "water"])
    assert (scores.miou, scores.pixel_accuracy) == (0, 0)


def test_batches_are_pooled_and_ignored_pixels_left_out() -> None:
    counter = confusion_matrix(2)
    counter.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, IGNORE]))
    counter.update(torch.tensor([1]), torch.tensor([1]))
    assert counter.compute().tolist() == [[1, 1], [0, 1]]
