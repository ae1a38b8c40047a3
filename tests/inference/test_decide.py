"""What is decided of a pixel from its logits: class, confidence, probabilities, at any temperature."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg.inference.decide import Wanted, decide


def logits(classes: int = 5, seed: int = 0) -> torch.Tensor:
    """Logits with ties, a class that is impossible, and a sure one."""
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.normal(0, 3, (classes, 40, 50)).astype(np.float32))
    values[:, 0] = values[:1, 0]
    values[2, 1] = -torch.inf
    values[1, 2] += 200
    return values


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 1.3, 3.0, 20.0])
def test_a_temperature_leaves_the_classes_as_they_are(temperature: float) -> None:
    plain, warmed = (decide(logits(), Wanted(True, "float32", t)) for t in (1.0, temperature))
    assert torch.equal(plain.index, warmed.index)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_probabilities_are_those_of_logits_divided_by_the_temperature(temperature: float) -> None:
    found = decide(logits(), Wanted(True, "float32", temperature))
    wanted = (logits().double() / temperature).softmax(dim=0)
    assert found.scores is not None
    assert found.percent is not None
    torch.testing.assert_close(found.scores.double(), wanted, rtol=1e-4, atol=1e-6)
    assert (found.percent.double() - 100 * wanted.amax(dim=0)).abs().max() < 0.51


def test_a_higher_temperature_makes_a_model_less_sure() -> None:
    means = [decide(logits(), Wanted(True, None, t)).percent.double().mean() for t in (0.5, 1.0, 2.0, 4.0)]  # type: ignore[union-attr]
    assert means == sorted(means, reverse=True)
    assert len(set(means)) == 4


def test_the_scores_are_those_of_the_confidence() -> None:
    found = decide(logits(), Wanted(True, "uint8", 1.7))
    assert found.scores is not None
    assert torch.equal(found.scores.amax(dim=0), found.percent)


def many(classes: int, seed: int) -> torch.Tensor:
    """A part of a larger array, as cores of windows are, with all that can be in one."""
    random = np.random.default_rng(seed)
    values = torch.from_numpy(random.normal(0, 6, (classes, 600, 700)).astype(np.float32))
    values[-1, 40] = values[0, 40]
    values[0, 50] = -torch.inf
    values[-1, 60] += 1e6
    values[:, 70] = -torch.inf
    values[:, 80, :40] = torch.nan
    return values[:, 10:, 7:-3]


@pytest.mark.parametrize("classes", [1, 2, 6, 40])
@pytest.mark.parametrize("temperature", [0.05, 1.0, 1.37, 20.0])
def test_many_pixels_are_decided_as_few_are(classes: int, temperature: float) -> None:
    """A compiled loop decides large blocks; per cents differ by one where they are halves."""
    wanted = Wanted(True, temperature=temperature)
    values = many(classes, seed=classes)
    whole = decide(values, wanted)
    parts = [decide(part, wanted) for part in values.split(100, dim=1)]
    assert torch.equal(whole.index, torch.cat([part.index for part in parts]))
    assert whole.percent is not None
    apart = (whole.percent.int() - torch.cat([part.percent for part in parts]).int()).abs()  # type: ignore[misc]
    assert apart.max() <= 1
    assert apart.float().mean() < 1e-4
