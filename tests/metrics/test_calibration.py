"""Calibration: figures of known cases, bins, and the temperature that is found again."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from geoseg.metrics.calibration.calibration import CalibrationFigures, calibration_figures
from geoseg.metrics.calibration.counter import ProbabilityCounter
from geoseg.metrics.calibration.temperature import SEARCHED, LogitSample

NAMES = ("a", "b", "c", "d", "e", "f")


def figures(logits: torch.Tensor, true: torch.Tensor, temperature: float = 1.0) -> CalibrationFigures:
    counter = ProbabilityCounter(len(logits), temperature)
    counter.update(logits, logits.argmax(dim=0), true)
    return calibration_figures(counter.counts(), NAMES[: len(logits)])


def calibrated(classes: int = 4, count: int = 60_000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (K, N), and labels drawn by just the probabilities that they say."""
    random = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(classes, count, generator=random)
    true = torch.multinomial(logits.T.softmax(dim=1), 1, generator=random)[:, 0]
    return logits, true


def fit(logits: torch.Tensor, true: torch.Tensor, pixels: int | None = None) -> float:
    sample = LogitSample(len(logits), len(true) if pixels is None else pixels)
    for part in torch.arange(len(true)).split(997):
        sample.update(logits[:, part], logits[:, part].argmax(dim=0), true[part])
    return sample.fit().value


# ----------------------------------------------------------------------------------------------------------- figures


@pytest.mark.parametrize(("sure", "right"), [(0.8, 0.8), (0.9, 0.6), (0.6, 0.9), (0.99, 0.0)])
def test_one_confidence_is_as_far_off_as_it_says(sure: float, right: float) -> None:
    """1,000 pixels of two classes, all predicted as the first with one confidence."""
    logits = torch.tensor([sure, 1 - sure]).log()[:, None].expand(2, 1000)
    true = (torch.arange(1000) >= 1000 * right).long()
    found = figures(logits, true)
    assert found.overall["ece"] == pytest.approx(abs(sure - right), abs=1e-6)
    assert found.overall["overconfidence"] == pytest.approx(sure - right, abs=1e-6)
    assert found.overall["log_loss"] == pytest.approx(-right * math.log(sure) - (1 - right) * math.log(1 - sure), 1e-5)
    assert found.overall["brier"] == pytest.approx(2 * (right * (1 - sure) ** 2 + (1 - right) * sure**2), 1e-5)
    assert found.by_class["class_ece"]["b"] == (pytest.approx(abs(sure - right), abs=1e-6) if right < 1 else None)


def test_errors_in_both_directions_add_up() -> None:
    """Half of the pixels are too sure, half not sure enough: on average all is well, and the ECE sees it."""
    sure = torch.tensor([0.95] * 100 + [0.55] * 100)
    right = torch.tensor([True] * 75 + [False] * 25 + [True] * 75 + [False] * 25)
    found = figures(torch.stack([sure, 1 - sure]).log(), (~right).long())
    assert found.overall["overconfidence"] == pytest.approx(0, abs=1e-6)
    assert found.overall["ece"] == pytest.approx(0.2, abs=1e-6)


def test_the_figures_are_those_of_whole_arrays() -> None:
    logits, true = calibrated(count=5000)
    found = figures(3 * logits, true)
    shares = (3 * logits).double().softmax(dim=0).numpy()
    sure, hit = shares.max(axis=0), shares.argmax(axis=0) == true.numpy()
    edges = np.linspace(0, 1, 16)
    members = [(sure > low) & (sure <= high) for low, high in pairwise(edges)]
    wanted = sum(len(sure[m]) / 5000 * abs(sure[m].mean() - hit[m].mean()) for m in members if m.any())
    assert found.ece == pytest.approx(wanted, abs=1e-5)
    filled = [m for m in members if m.any()]
    assert [one.pixels for one in found.bins] == [m.sum() for m in filled]
    assert [one.right for one in found.bins] == pytest.approx([hit[m].mean() for m in filled])
    assert [one.confidence for one in found.bins] == pytest.approx([sure[m].mean() for m in filled], rel=1e-5)
    assert found.overall["log_loss"] == pytest.approx(-np.log(shares[true, np.arange(5000)]).mean(), rel=1e-5)


def test_what_is_calibrated_has_next_to_no_error_and_what_is_scaled_has_some() -> None:
    logits, true = calibrated()
    assert (figures(logits, true).ece or 1) < 0.01
    for scale in (0.5, 2):
        scaled = figures(scale * logits, true)
        assert (scaled.ece or 0) > 0.05
        assert ((scaled.overall["overconfidence"] or 0) > 0) == (scale > 1)
        assert figures(scale * logits, true, temperature=scale).ece == pytest.approx(
            figures(logits, true).ece, abs=1e-4
        )


def test_empty_bins_are_left_out() -> None:
    logits, true = calibrated(classes=2, count=500)
    bins = figures(logits, true).bins
    assert len(bins) == 8
    assert all(0.5 <= one.confidence <= 1 and 0 <= one.right <= 1 for one in bins)
    assert sum(one.pixels for one in bins) == 500


# ------------------------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2.0, 4.0])
def test_a_planted_temperature_is_found(scale: float) -> None:
    logits, true = calibrated()
    assert fit(scale * logits, true) == pytest.approx(scale, rel=0.02)


def test_the_temperature_has_the_least_log_loss() -> None:
    logits, true = calibrated(count=4000)
    best = fit(3 * logits, true)
    losses = [figures(3 * logits, true, t).overall["log_loss"] or 0 for t in (0.97 * best, best, 1.03 * best)]
    assert losses[1] == min(losses)


def test_a_part_of_the_pixels_is_enough_and_always_the_same() -> None:
    logits, true = calibrated(count=200_000)
    few = [fit(2 * logits, true, pixels=20 * 2**21) for _ in range(2)]
    assert few[0] == few[1]
    assert few[0] == pytest.approx(2, rel=0.1)
    sample = LogitSample(4, 20 * 2**21)
    sample.update(logits, logits.argmax(dim=0), true)
    assert sample.fit().pixels == -(-200_000 // 81)


def test_without_pixels_the_temperature_is_one() -> None:
    fitted = LogitSample(3, 0).fit()
    assert (fitted.value, fitted.pixels, fitted.is_bounded) == (1, 0, False)


@pytest.mark.parametrize(("right", "bound"), [(True, SEARCHED[0]), (False, SEARCHED[1])])
def test_a_temperature_without_a_best_value_ends_at_a_bound(right: bool, bound: float) -> None:
    logits, _ = calibrated(count=100)
    true = logits.argmax(dim=0) if right else logits.argmin(dim=0)
    sample = LogitSample(4, 100)
    sample.update(logits, logits.argmax(dim=0), true)
    assert (sample.fit().value, sample.fit().is_bounded) == (bound, True)


def test_an_impossible_class_does_no_harm() -> None:
    logits, true = calibrated(count=20_000)
    logits = torch.cat([2 * logits, torch.full((1, 20_000), -torch.inf)])
    assert fit(logits, true) == pytest.approx(2, rel=0.05)


def test_errors_that_are_all_among_the_least_certain_tenth_leave_no_certain_errors() -> None:
    sure = torch.tensor([[20.0, 0.0]]).T.expand(2, 95)
    unsure = torch.tensor([[0.1, 0.0]]).T.expand(2, 5)
    logits = torch.cat([sure, unsure], dim=1)
    true = torch.cat([torch.zeros(95), torch.ones(5)]).long()
    assert figures(logits, true).overall["certain_errors"] == 0
    wrong_where_sure = torch.cat([torch.ones(5), torch.zeros(95)]).long()
    found = figures(logits, wrong_where_sure).overall["certain_errors"]
    assert found == pytest.approx(1 - 5 / 95)  # of the surer bin, five of 95 pixels belong to the tenth


def test_where_confidence_says_nothing_nine_tenths_of_the_errors_are_certain_ones() -> None:
    logits = torch.zeros(2, 1000)
    logits[0] = 3.0
    true = (torch.arange(1000) % 4 == 0).long()
    found = figures(logits, true).overall["certain_errors"]
    assert found == pytest.approx(0.9)
