"""Counts of probabilities against labels, pixels by pixels, whatever their number.

In: logits of labelled pixels, and a temperature. Out: sums by bins of probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geoseg.metrics.calibration.calibration import Calibration, calibration_figures
from geoseg.metrics.calibration.metric import BINS, Bins, ProbabilityCounts, Sums

LEAST_LOG = -30.0
"""Logarithms of probabilities count as at least this, so that one pixel of probability 0 does not decide a mean."""
_CHUNK_PX = 2**15
"""Pixels counted at once: few enough to stay in the cache."""


class ProbabilityCounter:
    """Counts pixels by the probabilities that a temperature makes of their logits; holds K × B sums."""

    def __init__(self, classes: int, temperature: float = 1.0):
        """Set the number of classes, and the number by which logits are divided."""
        self.classes, self.temperature = classes, temperature
        self._confidence = torch.zeros(3, BINS, dtype=torch.float64)
        self._classes = torch.zeros(3, classes * BINS, dtype=torch.float64)
        self._by_true = torch.zeros(3, classes, dtype=torch.float64)

    def update(self, logits: Tensor, predicted: Tensor, true: Tensor) -> None:
        """Count pixels.

        Args:
            logits: (K, N), float32.
            predicted: index of the highest of them (N,), int64.
            true: labelled class (N,), int64; none is without a label.
        """
        for first in range(0, len(true), _CHUNK_PX):
            part = slice(first, first + _CHUNK_PX)
            self._count(logits[:, part], predicted[part], true[part])

    def _count(self, logits: Tensor, predicted: Tensor, true: Tensor) -> None:
        logs = (logits / self.temperature).log_softmax(dim=0)
        shares = logs.exp()
        bins = (shares * BINS).ceil_().sub_(1).clamp_(0, BINS - 1).to(torch.int32)
        of_chosen, of_true = (torch.stack([row, torch.arange(len(row))]) for row in (predicted, true))
        sure, hit = shares[*of_chosen], (predicted == true).float()
        self._confidence += _sums(bins[*of_chosen], BINS, sure, hit)
        loss = -logs[*of_true].clamp(min=LEAST_LOG)
        squared = shares.square().sum(dim=0) - 2 * shares[*of_true] + 1
        self._by_true += _sums(true, self.classes, loss, squared)
        cells = bins + BINS * torch.arange(self.classes, dtype=torch.int32)[:, None]
        self._classes[:2] += _sums(cells.flatten(), self.classes * BINS, shares.flatten())
        self._classes[2] += torch.bincount(cells[*of_true], minlength=self.classes * BINS)

    def counts(self) -> ProbabilityCounts:
        """The sums of all pixels so far."""
        return ProbabilityCounts(
            Bins(*_arrays(self._confidence)),
            Bins(*_arrays(self._classes.view(3, self.classes, BINS))),
            *_arrays(self._by_true),
        )


class CalibrationCounter:
    """Counts pixels by their probabilities with a model's temperature, and by those without it."""

    def __init__(self, classes: int, temperature: float):
        """Set the number of classes, and the model's temperature."""
        self.temperature = temperature
        self._counters = {value: ProbabilityCounter(classes, value) for value in (1.0, temperature)}

    def update(self, logits: Tensor, predicted: Tensor, true: Tensor) -> None:
        """Count pixels: logits (K, N), predicted and labelled classes (N,)."""
        for counter in self._counters.values():
            counter.update(logits, predicted, true)

    def calibration(self, names: Sequence[str]) -> Calibration:
        """The figures of all pixels so far; `names` are those of the K classes."""
        plain, own = (self._counters[value].counts() for value in (1.0, self.temperature))
        return Calibration(self.temperature, calibration_figures(own, names), calibration_figures(plain, names))


def _sums(of: Tensor, count: int, *values: Tensor) -> Tensor:
    """How often each index from 0 to `count` - 1 occurs, and the sums of some values by index (1 + V, count)."""
    return torch.stack(
        [torch.bincount(of, minlength=count).double(), *(torch.bincount(of, one.double(), count) for one in values)]
    )


def _arrays(sums: Tensor) -> list[Sums]:
    return [np.array(part, np.float64) for part in sums.numpy()]
