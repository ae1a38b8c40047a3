"""How well a model's probabilities fit labels, with its temperature and without: tables of named figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from geoseg.metrics.calibration.metric import CALIBRATION_METRICS, Bins, ProbabilityCounts
from geoseg.metrics.scores import ClassFigures, Figure


@dataclass(frozen=True)
class ReliabilityBin:
    """Pixels of about one confidence."""

    pixels: int
    """Number of pixels."""
    confidence: float
    """Their mean confidence, 0 to 1."""
    right: float
    """Share of those that are right."""


@dataclass(frozen=True)
class CalibrationFigures:
    """Figures of probabilities against labels, 0 being perfect, and the pixels by confidence."""

    overall: Mapping[str, float | None]
    """Figures over all classes by name; None where there is nothing to divide by."""
    by_class: Mapping[str, ClassFigures]
    """Figures per class name by name."""
    bins: tuple[ReliabilityBin, ...]
    """Those of 15 bins of confidence, of equal width, that hold pixels."""

    @property
    def ece(self) -> float | None:
        """The expected calibration error."""
        return self.overall.get("ece")

    @property
    def headline(self) -> list[Figure[float | None]]:
        """Figures over all classes."""
        known = [name for name in CALIBRATION_METRICS if name in self.overall]
        return [Figure(name, CALIBRATION_METRICS.get(name).words, False, self.overall[name]) for name in known]

    @property
    def columns(self) -> list[Figure[ClassFigures]]:
        """Figures per class."""
        known = [name for name in CALIBRATION_METRICS if name in self.by_class]
        return [Figure(name, CALIBRATION_METRICS.get(name).words, False, self.by_class[name]) for name in known]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: each figure under its name."""
        by_class = {name: dict(figures) for name, figures in self.by_class.items()}
        return {**self.overall, **by_class, "bins": [asdict(one) for one in self.bins]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The figures from the values of `as_dict`."""
        figures = {name: value for name, value in values.items() if name != "bins"}
        return cls(
            {name: value for name, value in figures.items() if not isinstance(value, Mapping)},
            {name: dict(value) for name, value in figures.items() if isinstance(value, Mapping)},
            tuple(ReliabilityBin(**one) for one in values["bins"]),
        )


@dataclass(frozen=True)
class Calibration:
    """How well a model's probabilities fit labels, with its temperature and without."""

    temperature: float
    """The number by which logits are divided; 1 changes nothing."""
    figures: CalibrationFigures
    """With the temperature, as a prediction has them."""
    plain: CalibrationFigures
    """Of the logits as they are; the same where the temperature is 1."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the figures, and under `plain` those without the temperature."""
        return {"temperature": self.temperature, **self.figures.as_dict(), "plain": self.plain.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The calibration from the values of `as_dict`."""
        own = {name: value for name, value in values.items() if name not in ("temperature", "plain")}
        figures, plain = CalibrationFigures.from_dict(own), CalibrationFigures.from_dict(values["plain"])
        return cls(values["temperature"], figures, plain)


def calibration_figures(counts: ProbabilityCounts, names: Sequence[str]) -> CalibrationFigures:
    """Compute all figures of counts; `names` are those of the K classes, in the order of their indexes."""
    overall: dict[str, float | None] = {}
    by_class: dict[str, ClassFigures] = {}
    for name in CALIBRATION_METRICS:
        metric = CALIBRATION_METRICS.get(name)()
        figure = metric.figure(counts)
        if metric.by_class:
            by_class[name] = {of: _known(value) for of, value in zip(names, figure, strict=True)}
        else:
            overall[name] = _known(figure)
    return CalibrationFigures(overall, by_class, _filled(counts.confidence))


def calibration_line(found: Calibration) -> str:
    """A sentence on how far confidences are from the share of right pixels."""
    own, plain = (one.overall.get("ece") for one in (found.figures, found.plain))
    if own is None or plain is None:
        return "how well confidences fit is unknown: no pixel was counted"
    without = "" if found.temperature == 1 else f" (temperature {found.temperature:g}; {plain:.3f} without it)"
    return f"confidences are off by {own:.3f} on average, by their expected calibration error{without}"


def _filled(bins: Bins) -> tuple[ReliabilityBin, ...]:
    """The bins (B,) that hold pixels."""
    rows = zip(bins.pixels, bins.probability, bins.hits, strict=True)
    return tuple(ReliabilityBin(int(n), float(sure / n), float(hits / n)) for n, sure, hits in rows if n)


def _known(value: Any) -> float | None:
    """A figure; None where it is NaN."""
    return None if np.isnan(value) else float(value)
