"""Tables of a report: formatted figures, the confusion matrix, and the most frequent confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geoseg.outputs.report.contents import Report


def occurs(figures: Mapping[str, float | None]) -> bool:
    """Whether any class has a value."""
    return any(value is not None for value in figures.values())


def score(value: float | None) -> str:
    """A score with three digits, or a dash for None."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def signed(value: float | None) -> str:
    """A difference with its sign and three digits, or a dash for None."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float | None) -> str:
    """A p-value with three digits, or that it is below what they show; a dash for None."""
    return "–" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"


def percent(share: float | None, digits: int = 1) -> str:
    """A share as a percentage; empty for None, and never zero for a positive share."""
    if not share:
        return ""
    least = 10.0**-digits
    return f"<{least:g}" if 100 * share < least / 2 else f"{100 * share:.{digits}f}"


def shares(confusion: Sequence[Sequence[int]]) -> list[float]:
    """Share of the labelled pixels per true class."""
    total = sum(map(sum, confusion))
    return [sum(row) / total if total else 0.0 for row in confusion]


@dataclass(frozen=True)
class Cell:
    """One cell of the confusion matrix."""

    pixels: int
    share: float
    """Share of the row's pixels, 0 to 1."""
    shade: float
    """Depth of its colour, 0 to 1: the root of the share, which keeps small shares visible."""
    hit: bool
    """Whether it is on the diagonal."""


def matrix_row(row: Sequence[int], true: int) -> list[Cell]:
    """Cells of one true class, given the pixels (K) by predicted class."""
    total = max(sum(row), 1)
    return [Cell(n, n / total, round(math.sqrt(n / total), 3), i == true) for i, n in enumerate(row)]


@dataclass(frozen=True)
class Mistake:
    """A confusion of two classes."""

    true: str
    predicted: str
    pixels: int
    share: float
    """Share of the true class's pixels."""


def mistakes(report: Report, most: int = 3) -> list[Mistake]:
    """The most frequent confusions by pixels, in descending order."""
    names, confusion = [c.name for c in report.classes], report.scores.confusion
    found = [
        Mistake(names[true], names[predicted], pixels, pixels / sum(row))
        for true, row in enumerate(confusion)
        for predicted, pixels in enumerate(row)
        if pixels and true != predicted
    ]
    return sorted(found, key=lambda one: -one.pixels)[:most]
