"""Histogram matching: values of labelled windows become those of the same rank in windows of the target, per band.

Gonzalez and Woods 2018, 3.3; for the adaptation of networks Abramov, Bayer and Heller 2020, "Keep it simple: Image
statistics matching for domain adaptation". Distributions are known by quantiles of evenly spread pixels with data.

In: band values of labelled windows and of the target. Out: band values.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from geoseg.models.training_batch import LabelledWindows
from geoseg.training.methods.method import Setup
from geoseg.training.styles.style import Style, Styled, StyleSettings

SAMPLED_SIDE = 64
"""Pixels along the shorter side of a window of which quantiles are taken; less than twice as many."""


class HistogramSettings(StyleSettings):
    """Parameters of the way."""

    by: str = "histogram"
    """Name of the way."""
    of: Literal["batch", "window"] = "batch"
    """Whose distributions are matched: that of all labelled windows of a step with that of all of the target, or each
    window with one of the target, which also moves with what the two happen to show."""
    quantiles: int = Field(default=256, ge=2, le=65536)
    """Quantiles by which a distribution is known; between them it is linear."""


class HistogramMatching(Style):
    """Maps the values of each band by the curve between two distributions."""

    Settings = HistogramSettings

    def __init__(self, setup: Setup, settings: HistogramSettings):
        super().__init__(setup, settings)
        self._given = settings

    def forward(self, labelled: LabelledWindows, target: LabelledWindows, generator: Generator) -> Styled:
        """Match the values of all pixels with data."""
        image, held = labelled.image, labelled.holds_data
        with torch.autocast(image.device.type, enabled=False):
            own, wanted = self._quantiles(labelled), self._quantiles(target)
            places = torch.arange(len(image), device=image.device)
            own, wanted = own[places % len(own)], wanted[places % len(wanted)]
            changed = matched(image.float().flatten(2), own, wanted).view_as(image)
        known = (own.isfinite() & wanted.isfinite()).flatten(1).all(dim=1)
        return Styled(changed.where((held & known.view(-1, 1, 1)).unsqueeze(1), image))

    def _quantiles(self, windows: LabelledWindows) -> Tensor:
        """Quantiles of each window (B, C, Q), or of all together (1, C, Q)."""
        image, held = windows.image.float(), windows.holds_data
        step = max(1, min(image.shape[-2:]) // SAMPLED_SIDE)
        values, held = image[..., ::step, ::step].flatten(2), held[..., ::step, ::step].flatten(1)
        if self._given.of == "batch":
            values, held = values.movedim(1, 0).flatten(1).unsqueeze(0), held.flatten().unsqueeze(0)
        return quantiles(values, held, self._given.quantiles)


def quantiles(values: Tensor, held: Tensor, count: int) -> Tensor:
    """Evenly spread quantiles (n, C, count), from lowest to highest; infinite where no pixel holds data.

    Args:
        values: of pixels (n, C, P).
        held: which of them hold data (n, P).
        count: number of quantiles.
    """
    ordered = values.masked_fill(~held.unsqueeze(1), torch.inf).sort(dim=2).values
    last = (held.sum(dim=1, keepdim=True) - 1).clamp(min=0)
    places = torch.linspace(0, 1, count, device=values.device) * last
    below = places.long().unsqueeze(1).expand(-1, values.shape[1], -1)
    above = (below + 1).minimum(last.unsqueeze(1))
    low, high = ordered.gather(2, below), ordered.gather(2, above)
    return low.lerp(high, (places - places.floor()).unsqueeze(1))


def matched(values: Tensor, own: Tensor, wanted: Tensor) -> Tensor:
    """Values (n, C, P), each with the rank that it has among `own`, become those of this rank in `wanted` (n, C, Q).

    A value that takes several ranks becomes the mean of what has the first and the last of them.
    """
    first, last = torch.searchsorted(own, own), torch.searchsorted(own, own, right=True) - 1
    onto = (wanted.gather(2, first) + wanted.gather(2, last)) / 2
    place = torch.searchsorted(own, values.contiguous())
    below, above = (place - 1).clamp(min=0), place.clamp(max=own.shape[2] - 1)
    low, high = own.gather(2, below), own.gather(2, above)
    share = ((values - low) / (high - low)).nan_to_num(nan=0.0).clamp(0, 1)  # beyond the ends, both are the same
    return onto.gather(2, below).lerp(onto.gather(2, above), share)
