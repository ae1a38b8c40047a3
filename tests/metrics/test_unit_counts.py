"""Counts unit by unit, against those of the counter of whole rasters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.metrics.counter import ScoreCounter
from geoseg.metrics.scores import pooled_scores
from geoseg.metrics.unit_counts import UnitCounter, UnitCounts, join_counts, load_counts, save_counts
from geoseg.spec import IGNORE

NAMES = ["a", "b", "c"]


def windows(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted and true classes (40, 60) in blobs, some not labelled, and units of 16 pixels."""
    random = np.random.default_rng(seed)
    true, predicted = (np.kron(random.integers(0, 3, (10, 15)), np.ones((4, 4), np.int64)) for _ in range(2))
    true[random.random(true.shape) < 0.1] = IGNORE
    rows, cols = np.indices(true.shape) // 16
    return torch.from_numpy(predicted), torch.from_numpy(true), torch.from_numpy(rows * 4 + cols)


@pytest.mark.parametrize("boundary_px", [None, 2])
def test_the_units_together_have_the_scores_of_the_whole(boundary_px: int | None) -> None:
    predicted, true, units = windows(0)
    whole, parts = ScoreCounter(3, boundary_px), UnitCounter(3, 12, boundary_px)
    whole.update(predicted[None], true[None])
    for left in (True, False):  # two windows that share the raster's pixels, each with the other's as neighbours
        counted = (torch.arange(60) < 30).expand(40, 60) == left
        parts.update(predicted, true, counted, units)
    assert parts.counts().scores(NAMES) == whole.scores(NAMES)


def test_each_unit_has_its_own_pixels_and_one_without_labels_is_left_out() -> None:
    predicted, true, units = windows(1)
    true[units == 5] = IGNORE
    counter = UnitCounter(3, 13)
    counter.update(predicted, true, torch.ones_like(true, dtype=torch.bool), units)
    counts = counter.counts()
    assert len(counts) == 11
    known = [unit for unit in range(12) if unit != 5]
    for confusion, unit in zip(counts.confusion, known, strict=True):
        here = (units == unit) & (true != IGNORE)
        assert confusion.sum() == here.sum()
        assert np.trace(confusion) == (here & (predicted == true)).sum()


def test_pixels_in_gaps_count_nowhere() -> None:
    predicted, true, units = windows(2)
    counter = UnitCounter(3, 12)
    counter.update(predicted, true, torch.ones_like(true, dtype=torch.bool), torch.full_like(units, -1))
    assert len(counter.counts()) == 0


def test_counts_come_back_from_a_file_and_join(tmp_path):
    random = np.random.default_rng(0)
    both = [
        UnitCounts(random.integers(0, 9, (n, 3, 3)), random.integers(0, 5, (n, 3)), random.integers(5, 9, (n, 3)), px)
        for n, px in ((2, 3), (4, 3))
    ]
    for counts in (*both, replace(both[0], boundary_px=None)):
        save_counts(counts, tmp_path / "counts.npz")
        found = load_counts(tmp_path / "counts.npz")
        assert found.boundary_px == counts.boundary_px
        assert (found.confusion == counts.confusion).all()
        assert (found.boundary_unions == counts.boundary_unions).all()
    joined, parts = join_counts(both), [one.scores(NAMES) for one in both]
    assert joined.scores(NAMES) == pooled_scores(parts)
    (tmp_path / "counts.npz").write_bytes(b"PK damaged")
    assert load_counts(tmp_path / "counts.npz") is None
    assert load_counts(tmp_path / "none.npz") is None
