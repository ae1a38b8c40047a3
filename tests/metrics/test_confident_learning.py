"""Confident learning by hand: thresholds are mean self-confidences, and labels off the diagonal are doubted."""

import numpy as np
import pytest

from geoseg.metrics.confident_learning import SelfConfidence, doubted_as
from geoseg.spec import IGNORE

PROBABILITIES = np.array([[0.9, 0.1, 0.0], [0.7, 0.2, 0.1], [0.2, 0.8, 0.0], [0.3, 0.6, 0.1]], np.float32).T
LABELS = np.array([0, 0, 1, 1], np.uint8)


def test_the_threshold_of_a_class_is_the_mean_probability_of_its_own_pixels():
    found = SelfConfidence(3)
    found.update(PROBABILITIES[:, :1], LABELS[:1])
    found.update(PROBABILITIES[:, 1:], LABELS[1:])
    assert found.thresholds() == pytest.approx([0.8, 0.7, 0.75]), "a class without labels has the mean of the others"


@pytest.mark.parametrize(
    ("probabilities", "label", "expected"),
    [
        ((0.1, 0.8, 0.1), 0, 1),  # confident of another class
        ((0.8, 0.1, 0.1), 0, IGNORE),  # agrees
        ((0.35, 0.65, 0.0), 0, IGNORE),  # the other class is likelier, but below its threshold
        ((0.1, 0.8, 0.1), IGNORE, IGNORE),  # not labelled
        ((0.0, 0.45, 0.55), 0, 2),  # class 2 is a class that the model is never sure of
        ((0.6, 0.0, 0.4), 0, IGNORE),  # class 2 reaches its threshold, but the label is likelier
    ],
)
def test_a_label_is_doubted_where_another_class_reaches_its_threshold_and_is_likelier(probabilities, label, expected):
    pixel = np.array(probabilities, np.float32).reshape(3, 1, 1)
    found = doubted_as(pixel, np.array([[label]], np.uint8), np.array([0.8, 0.7, 0.4]))
    assert found.tolist() == [[expected]]
