"""What every registered figure of calibration keeps, also one of another package that is installed."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from geoseg.metrics.calibration.calibration import Calibration, CalibrationFigures, calibration_figures
from geoseg.metrics.calibration.counter import ProbabilityCounter
from geoseg.metrics.calibration.metric import CALIBRATION_METRICS, ProbabilityCounts

pytestmark = pytest.mark.parametrize("name", CALIBRATION_METRICS.names)
NAMES = ("grass", "water", "road", "never")


def counted(logits: torch.Tensor, true: torch.Tensor, temperature: float = 1.0) -> ProbabilityCounts:
    counter = ProbabilityCounter(len(logits), temperature)
    counter.update(logits, logits.argmax(dim=0), true)
    return counter.counts()


def random_pixels(seed: int = 0, count: int = 3000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (4, N) and labels (N,); the last class is never labelled."""
    random = np.random.default_rng(seed)
    logits = torch.from_numpy(random.normal(0, 2, (4, count)).astype(np.float32))
    return logits, torch.from_numpy(random.integers(0, 3, count))


def figures(name: str, found: CalibrationFigures) -> list[float | None]:
    """The figure over all classes, or those of the classes."""
    return list(found.by_class[name].values()) if CALIBRATION_METRICS.get(name).by_class else [found.overall[name]]


def known(found: list[float | None]) -> list[float]:
    return [value for value in found if value is not None]


def of_pixels(logits: torch.Tensor, true: torch.Tensor) -> CalibrationFigures:
    return calibration_figures(counted(logits, true), NAMES[: len(logits)])


def test_its_name_can_stand_in_files_beside_the_bins(name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert name not in ("bins", "temperature", "plain")


def test_its_module_imports_no_pytorch(name: str) -> None:
    code = f"import sys; from geoseg.metrics.calibration.metric import CALIBRATION_METRICS as M; M.get({name!r})"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


def test_it_is_zero_where_all_is_right_and_sure(name: str) -> None:
    true = torch.arange(3).repeat(20)
    logits = 60 * torch.nn.functional.one_hot(true, 3).T.float()
    assert figures(name, of_pixels(logits, true)) == pytest.approx([0] * len(figures(name, of_pixels(logits, true))))


def test_it_is_far_from_zero_where_all_is_wrong_and_sure(name: str) -> None:
    true = torch.arange(3).repeat(20)
    logits = 60 * torch.nn.functional.one_hot((true + 1) % 3, 3).T.float()
    assert all(value is not None and value > 0.3 for value in figures(name, of_pixels(logits, true)))


def test_pixels_in_parts_and_in_another_order_have_the_same_figures(name: str) -> None:
    logits, true = random_pixels()
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(true)))
    parts = [counted(logits[:, part], true[part]) for part in order.split(700)]
    together = sum(parts[1:], start=parts[0])
    whole = known(figures(name, of_pixels(logits, true)))
    assert known(figures(name, calibration_figures(together, NAMES))) == pytest.approx(whole, rel=1e-5)


def test_classes_in_another_order_have_the_same_figures(name: str) -> None:
    logits, true = random_pixels()
    order = torch.tensor([2, 0, 3, 1])
    names = [NAMES[i] for i in order]
    moved = calibration_figures(counted(logits[order], order.argsort()[true]), names)
    found = of_pixels(logits, true)
    if CALIBRATION_METRICS.get(name).by_class:
        assert known([moved.by_class[name][of] for of in NAMES]) == pytest.approx(known(figures(name, found)), rel=1e-5)
    else:
        assert moved.overall[name] == pytest.approx(found.overall[name], rel=1e-5)


def test_a_class_without_labels_has_none(name: str) -> None:
    if CALIBRATION_METRICS.get(name).by_class:
        assert of_pixels(*random_pixels()).by_class[name]["never"] is None


def test_nothing_counted_gives_none_without_a_fault(name: str) -> None:
    nothing = ProbabilityCounter(4).counts()
    assert set(figures(name, calibration_figures(nothing, NAMES))) == {None}


def test_a_probability_of_zero_for_the_label_gives_a_number(name: str) -> None:
    logits = torch.tensor([[0.0, -torch.inf], [-torch.inf, 0.0]])
    assert all(np.isfinite(value or 0) for value in figures(name, of_pixels(logits, torch.tensor([1, 0]))))


def test_it_is_shown_with_its_words(name: str) -> None:
    found = of_pixels(*random_pixels())
    shown = {figure.name: figure.words for figure in (*found.headline, *found.columns)}
    assert shown[name].label
    assert shown[name].heading
    assert shown[name].meaning


def test_it_comes_back_from_plain_values(name: str) -> None:
    logits, true = random_pixels()
    warmed = calibration_figures(counted(logits, true, 1.5), NAMES)
    found = Calibration(1.5, warmed, of_pixels(logits, true))
    again = Calibration.from_dict(found.as_dict())
    assert again == found
    assert figures(name, again.figures) != figures(name, again.plain)
