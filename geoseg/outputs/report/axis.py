"""Axes of a report's charts: round ticks, and positions of values in percent of the plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGEST = 1e30
"""Largest value that a curve shows; only a diverged loss exceeds it, and leaves a gap."""


@dataclass(frozen=True)
class ChartAxis:
    """A range of values and the distance of its ticks."""

    low: float
    high: float
    step: float

    @classmethod
    def spanning(cls, values: Sequence[float]) -> ChartAxis:
        """An axis that begins and ends at a tick and holds all values."""
        least, greatest = min(values), max(values)
        size = max(abs(least), abs(greatest))
        size = size if size > 1 / LARGEST else 1.0
        is_flat = greatest - least <= 1e-6 * size
        step = _round_step((size if is_flat else greatest - least) / 5)
        low, high = math.floor(least / step + 1e-6) - is_flat, math.ceil(greatest / step - 1e-6) + is_flat
        return cls(max(low, 0) * step if least >= 0 else low * step, high * step, step)

    @classmethod
    def of_epochs(cls, epochs: Sequence[float]) -> ChartAxis:
        """An axis from the first to the last epoch, with ticks at whole epochs."""
        return cls(min(epochs), max(epochs), max(1.0, _round_step((max(epochs) - min(epochs)) / 6)))

    def at(self, value: float) -> float:
        """Position of a value in percent of the axis; the middle of an axis without length."""
        if self.high <= self.low:
            return 50.0
        return min(max(100 * (value - self.low) / (self.high - self.low), 0.0), 100.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Position and text of every tick."""
        first, last = math.ceil(self.low / self.step - 1e-6), math.floor(self.high / self.step + 1e-6)
        values = [n * self.step for n in range(first, last + 1)]
        return [(self.at(value), _tick_text(value, self.step)) for value in values]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    if least <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _tick_text(value: float, step: float) -> str:
    """A tick's number, with the fewest digits that distinguish it from its neighbours."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    if digits > 4 or abs(value) >= 1e5:
        return np.format_float_scientific(value, precision=2, trim="-", exp_digits=1) if value else "0"
    return f"{round(value, digits) + 0.0:.{digits}f}"
