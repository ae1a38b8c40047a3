"""Runs that are killed or lose their power end in the right files: a few of the trials of benchmarks/robustness.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch


def load_trials() -> Any:
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "robustness.py"
    spec = importlib.util.spec_from_file_location("robustness", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["robustness"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    return module


trials = load_trials()
QUICK = {"polygons": False, "preview": False, "stac": False}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def held(tally: Any) -> int:
    """How many trials ended well; none may end otherwise."""
    assert not tally.failures, "\n".join(tally.failures)
    return tally.outcomes.total()


@pytest.mark.parametrize(("way", "count"), [("plain", 3), ("context", 1), ("refine", 1)])
def test_a_damaged_work_folder_ends_in_the_right_pixels(tmp_path: Path, way: str, count: int) -> None:
    trial = trials.Prediction.make(tmp_path, way, **QUICK)
    tally = trials.cut_power_again_and_again(trial, tmp_path, count, seed=100)
    assert held(tally) == tally.outcomes["right"] == count


def test_a_damaged_training_run_ends_in_the_right_weights_or_one_line(tmp_path: Path) -> None:
    assert held(trials.cut_power_again_and_again(trials.Training.make(tmp_path), tmp_path, 4, seed=100)) == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "what", "count"),
    [
        ("kills", "predict", 30),
        ("kills", "train", 10),
        ("kills", "vectorize", 10),
        ("powercut", "predict", 30),
        ("powercut", "train", 20),
    ],
)
def test_many_kills_and_power_cuts(tmp_path: Path, how: str, what: str, count: int) -> None:
    tallies = trials.run_all(how, what, count, 0, tmp_path)
    assert sum(held(tally) for tally in tallies.values()) == count
