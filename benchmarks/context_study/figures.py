"""Scores of the arms, and the intervals of their differences over places and seeds.

In: class maps, labels, and which pixels count. Out: rows of a table.

A difference is the mean over the seeds of an arm's mIoU less that of what it is compared with, seed by seed. Its
interval comes from resamples of both: of square blocks of the images, the same for all arms, and of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.metrics.interval import Interval
from geoseg.metrics.intervals import Bootstrap
from geoseg.metrics.unit_counts import UnitCounts
from geoseg.spec import IGNORE

from .maps import ClassMaps

BLOCK_PX = 384
"""Side of the blocks that are drawn."""


@dataclass(frozen=True)
class Places:
    """The pixels that count, and the block of each."""

    truth: ClassMaps
    """Class indexes of each raster."""
    counted: Sequence[NDArray[np.bool_]]
    """Which pixels of each count."""
    classes: int
    """Number of classes."""

    def counts(self, maps: ClassMaps) -> UnitCounts:
        """Pixels by true and predicted class in each block that has any."""
        found = [self._of_raster(*arrays) for arrays in zip(self.truth, self.counted, maps, strict=True)]
        confusion = np.concatenate(found)
        held = np.concatenate([self._held(*arrays) for arrays in zip(self.truth, self.counted, strict=True)])
        nothing = np.zeros((int(held.sum()), self.classes), np.int64)
        return UnitCounts(confusion[held], nothing, nothing, None)

    def _held(self, truth: NDArray[np.uint8], counted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.bincount(_blocks(truth.shape).ravel(), (counted & (truth != IGNORE)).ravel()) > 0

    def _of_raster(
        self, truth: NDArray[np.uint8], counted: NDArray[np.bool_], found: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        blocks, k = _blocks(truth.shape), self.classes
        used = counted & (truth != IGNORE)
        if (found[used] == IGNORE).any():
            raise ValueError("a counted pixel was not classified")
        where = (blocks[used] * k + truth[used]) * k + found[used]
        return np.bincount(where, minlength=(int(blocks.max()) + 1) * k * k).reshape(-1, k, k)


def _blocks(shape: Sequence[int]) -> NDArray[np.int64]:
    rows, cols = (np.arange(side) // BLOCK_PX for side in shape)
    return rows[:, None] * (int(cols.max()) + 1) + cols


@dataclass(frozen=True)
class Difference:
    """How much better one arm is than another."""

    mean: float
    """Mean over the seeds."""
    each: tuple[float, ...]
    """Seed by seed."""
    interval: Interval | None
    """95 % of what other places and seeds would give."""

    def __str__(self) -> str:
        """Mean and interval."""
        ends = "" if self.interval is None else f" ({self.interval.low:+.3f} to {self.interval.high:+.3f})"
        return f"{self.mean:+.3f}{ends}"


def difference(arm: Sequence[UnitCounts], other: Sequence[UnitCounts]) -> Difference:
    """Compare an arm with another one, or with the one run that all seeds share."""
    other = list(other) * (len(arm) if len(other) == 1 else 1)
    each = tuple(miou(a) - miou(b) for a, b in zip(arm, other, strict=True))
    bootstrap = Bootstrap(len(arm[0]))
    draws = np.stack([
        bootstrap.figures(a, "miou") - bootstrap.figures(b, "miou") for a, b in zip(arm, other, strict=True)
    ])  # fmt: skip
    seeds = np.random.default_rng(0).integers(0, len(arm), draws.shape)
    drawn = np.take_along_axis(draws, seeds, axis=0).mean(axis=0)
    return Difference(float(np.mean(each)), each, bootstrap.interval(drawn))


def miou(counts: UnitCounts) -> float:
    """The mean IoU of all blocks together."""
    return float(np.mean(ious(counts)))


def ious(counts: UnitCounts) -> list[float]:
    """The IoU of each class that occurs."""
    confusion = counts.confusion.sum(axis=0)
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return [float(b / e) for b, e, n in zip(both, either, confusion.sum(axis=1), strict=True) if n]
