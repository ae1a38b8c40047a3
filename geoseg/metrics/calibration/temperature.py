"""The temperature that fits logits to labels.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.

In: logits of labelled pixels, some at a time. Out: the number by which logits are divided so that the log loss of these
pixels is least. One number changes no class, and has next to no freedom to fit chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SEARCHED = 0.2, 10.0
"""Lowest and highest temperature that is considered."""
MOST_NUMBERS = 2**21
"""Most logits that are kept, 16 MB; of more pixels every n-th one is taken. Neighbouring pixels are alike."""
_LEAST_LOGIT = -200.0
"""Logits count as at most this far below the highest: times a finite number, no infinity becomes a NaN."""
_HALVINGS = 32


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and on what it was fitted."""

    value: float
    """The temperature, to four digits."""
    pixels: int
    """Labelled pixels on which it was fitted."""

    @property
    def is_bounded(self) -> bool:
        """Whether the best one lies at an end of what is considered, as where all pixels are right."""
        return self.value in SEARCHED


class LogitSample:
    """Logits and labels of every n-th labelled pixel; the same for the same pixels in the same order."""

    def __init__(self, classes: int, pixels: int):
        """Set the number of classes, and about how many pixels there will be."""
        self._every = max(1, -(-classes * pixels // MOST_NUMBERS)) | 1  # an odd step does not stay in some columns
        self._seen = 0
        self._logits: list[Tensor] = []
        self._true: list[Tensor] = []

    def update(self, logits: Tensor, predicted: Tensor, true: Tensor) -> None:
        """Take some of the pixels, given by their logits (K, N), predicted and labelled classes (N,)."""
        first = -self._seen % self._every
        self._seen += len(true)
        part = logits[:, first :: self._every].double()
        self._logits.append((part - part.amax(dim=0)).clamp(min=_LEAST_LOGIT))
        self._true.append(true[first :: self._every].clone())

    def fit(self) -> FittedTemperature:
        """The temperature of least log loss; 1 where there are no pixels.

        The log loss is convex in 1 / T, so that its slope is halved down to 0.
        """
        if not self._seen:
            return FittedTemperature(1.0, 0)
        logits, true = torch.cat(self._logits, dim=1), torch.cat(self._true)
        low, high = (1 / bound for bound in reversed(SEARCHED))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if _slope(logits, true, middle) < 0 else (low, middle)
        return FittedTemperature(float(f"{2 / (low + high):.4g}"), len(true))


def _slope(logits: Tensor, true: Tensor, inverse: float) -> float:
    """Derivative of the mean log loss of logits (K, N) times 1 / T by 1 / T."""
    expected = ((logits * inverse).softmax(dim=0) * logits).sum(dim=0)
    return float((expected - logits.gather(0, true[None])[0]).mean())
