"""Final logits become what is written: class indexes, how sure they are, and scores. Stays on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from geoseg.inference.uncertainties.written import WrittenUncertainty


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
    best, index = logits.max(dim=0)
    percent = scores = uncertainty = None
    kept = logits if wanted.logits else None
    if wanted.temperature != 1:
        best, logits = best / wanted.temperature, logits / wanted.temperature
    if wanted.confidence:
        percent = _percent((best - logits.logsumexp(dim=0)).exp())
    if wanted.scores:
        scores = logits.softmax(dim=0)
        scores = _percent(scores) if wanted.scores == "uint8" else scores
    if wanted.uncertainty is not None:
        uncertainty = wanted.uncertainty.of(logits.log_softmax(dim=0))
    return Decision(index.to(torch.uint8), percent, scores, kept, uncertainty)


def _percent(probabilities: Tensor) -> Tensor:
    """Whole percent; 0 where there is no number, which only pixels without data have."""
    return (100 * probabilities).nan_to_num_(0).round_().to(torch.uint8)
