"""Every registered measure of uncertainty keeps its contract, and is what its definition says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geoseg.core.errors import SpecError
from geoseg.inference.decide import Wanted, decide
from geoseg.inference.uncertainties import UNCERTAINTIES
from geoseg.inference.uncertainties.written import PERCENT, TEN_THOUSANDTHS, Unit, WrittenUncertainty
from geoseg.models.tta import D4, FLIPS, Augmentation

every = pytest.mark.parametrize("name", UNCERTAINTIES.names)
PLAIN = (Augmentation(),)


def of(name: str, probabilities: np.ndarray) -> np.ndarray:
    """Uncertainty (h, w) of probabilities (P, K, h, w) that each pass finds."""
    measure = UNCERTAINTIES.get(name)
    logs = [torch.from_numpy(one).double().log() for one in probabilities]
    values = [] if measure.of_probabilities is None else [measure.of_probabilities(one).numpy() for one in logs]
    classes = np.stack([one.argmax(dim=0).numpy().astype(np.uint8) for one in logs])
    return measure.of_passes(classes, np.array(values).reshape(-1, *classes.shape[1:]))


def sure(passes: int, classes: int = 4) -> np.ndarray:
    """Probabilities that leave no question open, alike in all passes."""
    index = np.random.default_rng(0).integers(0, classes, (5, 6))
    return np.repeat(np.moveaxis(np.eye(classes)[index], 2, 0)[None], passes, axis=0)


@every
def test_what_is_sure_has_none_and_nothing_has_more_than_one(name: str) -> None:
    passes = len(UNCERTAINTIES.get(name).passes(PLAIN))
    np.testing.assert_allclose(of(name, sure(passes)), 0, atol=1e-9)
    found = of(name, np.random.default_rng(1).dirichlet([0.5] * 4, (passes, 50, 60)).transpose(0, 3, 1, 2))
    assert found.shape == (50, 60)
    assert 0 <= found.min() < found.max() <= 1 + 1e-9


@every
def test_a_sole_class_is_sure(name: str) -> None:
    passes = len(UNCERTAINTIES.get(name).passes(PLAIN))
    np.testing.assert_array_equal(of(name, np.ones((passes, 1, 2, 3))), np.zeros((2, 3)))


@every
def test_the_names_of_the_classes_do_not_matter(name: str) -> None:
    passes = len(UNCERTAINTIES.get(name).passes(PLAIN))
    probabilities = np.random.default_rng(2).dirichlet([0.5] * 5, (passes, 20, 20)).transpose(0, 3, 1, 2)
    shuffled = probabilities[:, [3, 0, 4, 1, 2]]
    np.testing.assert_allclose(of(name, probabilities), of(name, shuffled), atol=1e-9)


@every
def test_the_first_pass_shows_the_scene_as_it_is_or_as_the_settings_ask(name: str) -> None:
    for augmentations in (PLAIN, FLIPS, D4):
        passes = UNCERTAINTIES.get(name).passes(augmentations)
        assert passes[0][0] == Augmentation()
        assert {one for each in passes for one in each} >= {*augmentations}


def test_entropy_is_that_of_shannon_over_its_largest_value() -> None:
    p = np.array([0.7, 0.2, 0.1]).reshape(1, 3, 1, 1)
    assert of("entropy", p)[0, 0] == pytest.approx(-sum(x * math.log(x) for x in (0.7, 0.2, 0.1)) / math.log(3))
    assert of("entropy", np.full((1, 3, 1, 1), 1 / 3))[0, 0] == pytest.approx(1)


def test_the_margin_is_between_the_two_likeliest_classes() -> None:
    assert of("margin", np.array([0.6, 0.1, 0.3]).reshape(1, 3, 1, 1))[0, 0] == pytest.approx(1 - 0.3)


def test_disagreement_is_the_share_of_the_votes_that_the_winner_does_not_get() -> None:
    votes = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 2, 3]]).T[:, None]  # (passes, 1, pixels)
    measure = UNCERTAINTIES.get("disagreement")
    found = measure.of_passes(votes.astype(np.uint8), np.empty((0, 1, 4)))
    np.testing.assert_allclose(found, [[0, 1 / 3, 2 / 3, 1]])


@pytest.mark.parametrize("unit", [PERCENT, TEN_THOUSANDTHS])
def test_decisions_carry_it_in_whole_units_at_the_temperature_of_the_model(unit: Unit) -> None:
    logits = torch.tensor([2.0, 0.0, -1.0]).reshape(3, 1, 1)
    entropy = UNCERTAINTIES.get("entropy").of_probabilities
    assert entropy is not None
    written = WrittenUncertainty("entropy", entropy, unit)
    plain, warmed = (decide(logits, Wanted(temperature=t, uncertainty=written)).uncertainty for t in (1.0, 3.0))
    assert plain is not None
    assert warmed is not None
    p = logits.softmax(dim=0)
    assert (plain.dtype, plain.item()) == (unit.dtype, round(unit.one * -float((p * p.log()).sum()) / math.log(3)))
    assert warmed.item() > plain.item()
    assert decide(logits, Wanted()).uncertainty is None


def test_an_unknown_measure_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="no measure of uncertainty is called 'entropie': did you mean 'entropy'"):
        UNCERTAINTIES.check("entropie")
