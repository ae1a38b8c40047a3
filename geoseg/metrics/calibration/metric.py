"""The contract of a figure of calibration, and the registry. Knows counts, not their origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.registry import Registry
from geoseg.metrics.metric import Wording

BINS = 15
"""Bins of equal width over the probabilities from 0 to 1, as in Guo et al. 2017."""

Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """Pixels by a probability: sums over those whose probability is above (b - 1) / B and at most b / B."""

    pixels: Sums
    """(..., B): number of pixels."""
    probability: Sums
    """(..., B): sum of their probabilities."""
    hits: Sums
    """(..., B): number of those for which it came true."""

    def __add__(self, other: Bins) -> Bins:
        return Bins(self.pixels + other.pixels, self.probability + other.probability, self.hits + other.hits)

    @property
    def error(self) -> NDArray[np.float64]:
        """(...): mean distance of probability and share of hits over the bins, by pixels; NaN where there are none."""
        gaps = np.abs(self.hits - self.probability).sum(axis=-1)
        return divide(gaps, self.pixels.sum(axis=-1))


@dataclass(frozen=True)
class ProbabilityCounts:
    """Sums over labelled pixels for K classes, from which all figures of calibration are computed."""

    confidence: Bins
    """(B,): by the probability of the chosen class, which comes true where that is the labelled one."""
    classes: Bins
    """(K, B): by the probability of each class, chosen or not, which comes true where it is the labelled one."""
    true: Sums
    """(K,): labelled pixels of each class."""
    log_loss: Sums
    """(K,): sum of -ln p of the labelled class, over the pixels labelled as each class."""
    squared_error: Sums
    """(K,): sum of the squared distances of the probabilities to 1 for the labelled class and 0 for the others,
    likewise."""

    def __add__(self, other: ProbabilityCounts) -> ProbabilityCounts:
        return ProbabilityCounts(
            self.confidence + other.confidence,
            self.classes + other.classes,
            self.true + other.true,
            self.log_loss + other.log_loss,
            self.squared_error + other.squared_error,
        )


class CalibrationMetric(Protocol):
    """One figure of `CalibrationFigures`, over all classes or of each class; its name is that in the registry.

    0 is perfect. Its module does not import PyTorch. `tests/metrics/test_calibration_contract.py` holds every
    registered one to that.
    """

    words: Wording
    """Its names and explanation."""
    by_class: bool
    """Whether there is a figure for each class, instead of one for all."""

    def figure(self, counts: ProbabilityCounts) -> NDArray[np.float64]:
        """The figure: (K,) by class, else a scalar (); NaN where there is nothing to divide by."""
        ...


CALIBRATION_METRICS: Registry[type[CalibrationMetric]] = Registry(
    "figure of calibration",
    "geoseg.calibration_metrics",
    {
        "ece": "geoseg.metrics.calibration.ece:ExpectedCalibrationError",
        "overconfidence": "geoseg.metrics.calibration.overconfidence:Overconfidence",
        "certain_errors": "geoseg.metrics.calibration.certain_errors:CertainErrors",
        "log_loss": "geoseg.metrics.calibration.log_loss:LogLoss",
        "brier": "geoseg.metrics.calibration.brier:BrierScore",
        "class_ece": "geoseg.metrics.calibration.class_ece:ClassCalibrationError",
    },
)
"""All figures by name; what is registered is a class, made without arguments."""


def divide(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotients; NaN where there is nothing to divide by."""
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    found: NDArray[np.float64] = np.full(np.broadcast(sums, counts).shape, np.nan)
    np.divide(sums, counts, out=found, where=counts > 0)
    return found
