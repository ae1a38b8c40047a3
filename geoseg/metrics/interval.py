"""Intervals of scores as values: ends, level, and the units they were drawn from. Knows no counts and no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from geoseg.core.wording import number_of

LEVEL = 0.95
"""Share of the cases in which an interval is to hold the true value."""
LEAST_UNITS = 5
"""Number of units below which there is no interval: fewer cannot hold the truth in 95 % of the cases."""
FEW_UNITS = 10
"""Number of units below which intervals are rough."""


@dataclass(frozen=True)
class Interval:
    """The range in which a figure lies with a given confidence."""

    low: float
    """Its lower end."""
    high: float
    """Its upper end."""

    @property
    def is_clear(self) -> bool:
        """Whether it excludes 0: of a difference, whether it is more than chance."""
        return not self.low <= 0 <= self.high

    @property
    def digits(self) -> int:
        """Digits that its ends need: two, or more where it is narrow; never more than four."""
        width = self.high - self.low
        if width > 0.03:
            return 2
        return min(4, 1 - math.floor(math.log10(width))) if width > 0 else 4

    def text(self, between: str = " to ") -> str:
        """Its ends, e.g. "0.69 to 0.77"."""
        return f"{self.low:.{self.digits}f}{between}{self.high:.{self.digits}f}"


@dataclass(frozen=True)
class ScoreIntervals:
    """The intervals of all figures of `Scores`; None where units with labels are too few."""

    overall: Mapping[str, Interval | None]
    """Of figures over all classes, by metric."""
    by_class: Mapping[str, Mapping[str, Interval | None]]
    """Of figures per class name, by metric."""
    unit: str
    """What a resample draws, e.g. "a block of 1024 px"."""
    units: int
    """Number of units with labels."""
    class_units: Mapping[str, int]
    """Number of units with labels of a class, by its name."""
    draws: int
    """Number of resamples."""
    seed: int
    """Seed of the resamples."""
    level: float = LEVEL
    """Confidence of the intervals."""

    @property
    def is_known(self) -> bool:
        """Whether units are enough for intervals at all."""
        return self.units >= LEAST_UNITS

    @property
    def scarce(self) -> dict[str, int]:
        """Classes with labels in too few units for an interval, and in how many."""
        return {name: units for name, units in self.class_units.items() if 0 < units < LEAST_UNITS}

    def describe(self) -> str:
        """How they were found, or why there are none, in words."""
        units = f"{number_of(self.units, 'unit')} with labels, each {self.unit}"
        if not self.is_known:
            return f"no intervals: {units}, are too few"
        rough = " (rough, as these are few)" if self.units < FEW_UNITS else ""
        scarce = ", ".join(f"{name} ({units})" for name, units in self.scarce.items())
        none = f"; none for classes with labels in few of them: {scarce}" if scarce else ""
        return f"{self.level:.0%} intervals by {self.draws:,} resamples of {units}{rough}{none}{self._no_means()}"

    def _no_means(self) -> str:
        """Why means over classes have no interval, in words; nothing where they have one."""
        held = {name: units for name, units in self.class_units.items() if units}
        if not held or self.find("miou") is not None:
            return ""
        few = min(held.values())
        rarest = [name for name, units in held.items() if units == few]
        which = f"class {rarest[0]} is" if len(rarest) == 1 else f"classes {', '.join(rarest)} are each"
        return f"; none for means over classes: {which} labelled in {number_of(few, 'unit')}"

    def find(self, metric: str, of_class: str | None = None) -> Interval | None:
        """The interval of a figure; None if there is none."""
        if of_class is None:
            return self.overall.get(metric)
        return self.by_class.get(metric, {}).get(of_class)

    def as_dict(self, overall: Mapping[str, float | None], by_class: Mapping[str, Mapping[str, float | None]]) -> Any:
        """Plain values for JSON, given the figures: each figure with its interval, its level and its units."""
        figures: dict[str, Any] = {
            name: self._plain(value, self.overall.get(name), self.units) for name, value in overall.items()
        }
        for name, values in by_class.items():
            figures[name] = {
                of: self._plain(value, self.find(name, of), self.class_units.get(of, 0)) for of, value in values.items()
            }
        plain = {name: getattr(self, name) for name in ("unit", "units", "level", "draws", "seed")}
        return {**plain, "class_units": dict(self.class_units), "figures": figures}

    def _plain(self, value: float | None, found: Interval | None, units: int) -> dict[str, Any]:
        low, high = (None, None) if found is None else (found.low, found.high)
        return {"value": value, "low": low, "high": high, "level": self.level, "units": units}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The intervals from the values of `as_dict`."""
        figures = values["figures"]
        return cls(
            overall={name: _interval(one) for name, one in figures.items() if _is_figure(one)},
            by_class={
                name: {of: _interval(one) for of, one in several.items()}
                for name, several in figures.items()
                if not _is_figure(several)
            },
            **{name: values[name] for name in ("unit", "units", "class_units", "draws", "seed", "level")},
        )


def _is_figure(values: Mapping[str, Any]) -> bool:
    """Whether plain values are those of one figure, not of one per class, whatever the classes are called."""
    return not isinstance(values.get("level"), Mapping) and "level" in values


def _interval(values: Mapping[str, Any]) -> Interval | None:
    return None if values["low"] is None else Interval(values["low"], values["high"])
