"""Pixel counts of predicted against true classes in each of many units: images, or square blocks.

In: class indexes of windows, predicted and true, and the unit of each pixel. Out: the counts of each unit, from which
`geoseg.metrics.intervals` draws. Knows no files, no class ids, and no network.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.core.files import draft_of
from geoseg.metrics.boundaries import find_boundaries
from geoseg.metrics.metric import Counts
from geoseg.metrics.scores import Scores, scores_of
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class UnitCounts:
    """Pixel counts for K classes in each of U units with labels; units of all zeros are left out."""

    confusion: NDArray[np.int64]
    """(U, K, K): pixels by true (rows) and predicted (columns) class."""
    boundary_intersections: NDArray[np.int64]
    """(U, K): pixels in the boundary of a class both in labels and in predictions."""
    boundary_unions: NDArray[np.int64]
    """(U, K): pixels in the boundary of a class in labels or in predictions."""
    boundary_px: int | None
    """Width of the boundaries; None where they were not compared."""

    def __len__(self) -> int:
        """Number of units."""
        return len(self.confusion)

    @property
    def holders(self) -> list[int]:
        """Number of units with labels of each class (K)."""
        return [int(units) for units in self.confusion.any(axis=2).sum(axis=0)]

    @property
    def total(self) -> Counts:
        """The counts of all units together."""
        parts = (self.confusion, self.boundary_intersections, self.boundary_unions)
        return Counts(*(torch.from_numpy(part.sum(axis=0)).double() for part in parts))

    def scores(self, names: Sequence[str]) -> Scores:
        """The scores of all units together; `names` are those of the K classes."""
        parts = (self.confusion, self.boundary_intersections, self.boundary_unions)
        totals = [torch.from_numpy(part.sum(axis=0)) for part in parts]
        return scores_of(totals[0], names, *totals[1:], boundary_px=self.boundary_px)


def join_counts(several: Sequence[UnitCounts]) -> UnitCounts:
    """The units of several evaluations of the same classes, one after the other."""
    widths = {one.boundary_px for one in several}
    return UnitCounts(
        np.concatenate([one.confusion for one in several]),
        np.concatenate([one.boundary_intersections for one in several]),
        np.concatenate([one.boundary_unions for one in several]),
        widths.pop() if len(widths) == 1 else None,
    )


def save_counts(counts: UnitCounts, path: Path) -> None:
    """Write counts to a file (.npz), atomically.

    Raises:
        OutputError: if it cannot be written there.
    """
    with draft_of(path) as draft, draft.open("wb") as file:
        np.savez_compressed(
            file,
            confusion=counts.confusion,
            boundary_intersections=counts.boundary_intersections,
            boundary_unions=counts.boundary_unions,
            boundary_px=np.array(-1 if counts.boundary_px is None else counts.boundary_px),
        )


def load_counts(path: Path) -> UnitCounts | None:
    """The counts in a file; None if there is no such file, or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            width = int(stored["boundary_px"])
            return UnitCounts(
                stored["confusion"],
                stored["boundary_intersections"],
                stored["boundary_unions"],
                None if width < 0 else width,
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error):
        return None


class UnitCounter:
    """Counts pixels window by window, as `ScoreCounter` does, but unit by unit."""

    def __init__(self, classes: int, units: int, boundary_px: int | None = None):
        """Set the numbers of classes and units, and the width of boundaries in pixels; None counts no boundaries."""
        self.classes, self.boundary_px = classes, boundary_px
        self._confusion = np.zeros((units, classes, classes), np.int64)
        self._both, self._in_labels, self._in_predictions = np.zeros((3, units, classes), np.int64)

    def update(self, predicted: Tensor, true: Tensor, counted: Tensor, units: Tensor) -> None:
        """Count a window.

        Args:
            predicted: class indexes (h, w), int64.
            true: class indexes (h, w), int64; IGNORE where there is no label.
            counted: (h, w) bool; pixels that are False are neighbours of others, not counted.
            units: number of the unit of each pixel (h, w), int64; -1 in gaps, where nothing is labelled.
        """
        wanted = counted & (true != IGNORE) & (units >= 0)
        here, units = self._present(units, wanted)
        pairs = true * self.classes + predicted
        self._confusion[here] += _count(units, pairs, wanted, (len(here), self.classes, self.classes))
        if self.boundary_px is None:
            return
        shape = len(here), self.classes
        predicted = predicted.where(true != IGNORE, IGNORE)
        in_labels = find_boundaries(true[None], self.boundary_px)[0] & wanted
        in_predictions = find_boundaries(predicted[None], self.boundary_px)[0] & wanted
        both = in_labels & in_predictions & (predicted == true)
        self._both[here] += _count(units, true, both, shape)
        self._in_labels[here] += _count(units, true, in_labels, shape)
        self._in_predictions[here] += _count(units, predicted, in_predictions, shape)

    def _present(self, units: Tensor, wanted: Tensor) -> tuple[NDArray[np.int64], Tensor]:
        """The units with wanted pixels, a few of all, and the units of all pixels, numbered among them (h, w)."""
        total = len(self._confusion)
        here = torch.bincount(units[wanted], minlength=total).nonzero()[:, 0]
        number = torch.zeros(total, dtype=torch.int64)
        number[here] = torch.arange(len(here))
        return here.numpy(), number[units]

    def counts(self) -> UnitCounts:
        """The counts of the units that have labels."""
        known = self._confusion.any(axis=(1, 2))
        unions = self._in_labels + self._in_predictions - self._both
        return UnitCounts(self._confusion[known], self._both[known], unions[known], self.boundary_px)


def _count(units: Tensor, kinds: Tensor, wanted: Tensor, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Wanted pixels by unit and kind, in an array of a shape whose first side counts the units."""
    size = math.prod(shape)
    counts = torch.bincount(units[wanted] * (size // max(shape[0], 1)) + kinds[wanted], minlength=size)
    return counts.numpy().reshape(shape)
