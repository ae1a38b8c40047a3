"""Final logits become what is written: class indexes, how sure they are, and scores. Stays on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from geoseg.inference.tally import SMALL_PX
from geoseg.inference.uncertainties.written import WrittenUncertainty

_ROWS = 32
"""Rows that are laid out side by side at once, so that they stay in a processor's cache."""


@dataclass(frozen=True)
class Wanted:
    """Outputs besides the classes that are computed."""

    confidence: bool = False
    """Probability of the chosen class."""
    scores: Literal["float32", "uint8"] | None = None
    """Probability of every class: 0 to 1, or in percent."""
    temperature: float = 1.0
    """By which logits are divided before they become probabilities."""
    logits: bool = False
    """The logits themselves, for a step that decides later."""
    uncertainty: WrittenUncertainty | None = None
    """How uncertain the class is."""


@dataclass(frozen=True)
class Decision:
    """Classes of some pixels, and the other outputs."""

    index: Tensor
    """Index of the most likely class (h, w), uint8."""
    percent: Tensor | None
    """Probability of that class in percent (h, w), uint8."""
    scores: Tensor | None
    """Probability of every class (K, h, w), float32, or uint8 in percent."""
    logits: Tensor | None = None
    """The logits (K, h, w), float32."""
    uncertainty: Tensor | None = None
    """Uncertainty of the class in the unit that is wanted (h, w)."""

    def to_host(self) -> Decision:
        """Copy to the host's memory; see the function of that name."""
        rest = (self.percent, self.scores, self.logits, self.uncertainty)
        return Decision(to_host(self.index), *(None if values is None else to_host(values) for values in rest))


def to_host(values: Tensor) -> Tensor:
    """Copy to the host's memory; from a GPU without waiting for the copy, which is there once the stream gets to it."""
    if values.device.type != "cuda":
        return values.cpu()
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return host.copy_(values, non_blocking=True)


def decide(logits: Tensor, wanted: Wanted) -> Decision:
    """Choose the most likely class from logits (K, h, w), float32.

    The logits are blended and averaged ones, the logarithms of probabilities. Dividing these by one temperature changes
    how sure a model is, never its class: the class is that of the logits as they are, so that not even rounding shows.
    """
    scores = uncertainty = None
    kept = logits if wanted.logits else None
    is_many = logits.device.type == "cpu" and logits[0].numel() > SMALL_PX
    by_loop = is_many and wanted.confidence and wanted.scores is None
    index, percent = (_decide_many if by_loop else _decide)(logits, wanted)
    if wanted.temperature != 1 and (wanted.scores or wanted.uncertainty is not None):
        logits = logits / wanted.temperature
    if wanted.scores:
        scores = logits.softmax(dim=0)
        scores = _percent(scores) if wanted.scores == "uint8" else scores
    if wanted.uncertainty is not None:
        uncertainty = wanted.uncertainty.of(logits.log_softmax(dim=0))
    return Decision(index, percent, scores, kept, uncertainty)


def _decide(logits: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor | None]:
    """Index of the class of each pixel (h, w), uint8, and its probability in percent, if that is wanted."""
    best, index = logits.max(dim=0)
    percent = None
    if wanted.confidence:
        warmed = logits if wanted.temperature == 1 else logits / wanted.temperature
        percent = _percent((best / wanted.temperature - warmed.logsumexp(dim=0)).exp())
    return index.to(torch.uint8), percent


def _decide_many(logits: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor | None]:
    """The same in a compiled loop, in a fifth of the time; whole per cents may differ by one where they are rounded."""
    from geoseg.inference.decide_loop import decide_into  # imports the compiler

    values = logits.numpy()
    index, percent = np.empty(values.shape[1:], np.uint8), np.empty(values.shape[1:], np.uint8)
    for first in range(0, values.shape[1], _ROWS):
        rows = slice(first, first + _ROWS)
        decide_into(np.ascontiguousarray(values[:, rows]), 1 / wanted.temperature, index[rows], percent[rows])
    return torch.from_numpy(index), torch.from_numpy(percent)


def _percent(probabilities: Tensor) -> Tensor:
    """Whole percent; 0 where there is no number, which only pixels without data have."""
    return (100 * probabilities).nan_to_num_(0).round_().to(torch.uint8)
