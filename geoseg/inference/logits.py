"""Logits of windows: whether they are finite, and where they lie in the window."""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.inference.batches import Sample


def are_numbers(logits: Tensor) -> Tensor:
    """Whether no logit is NaN or plus infinity, as a tensor on their device; minus infinity is the logarithm of 0."""
    return logits.sum() < torch.inf  # no comparison with NaN holds


def check_numbers(are: Tensor) -> None:
    """Refuse logits that are no numbers: the argmax of NaNs would always be the first class.

    Raises:
        ModelError: with the usual causes.
    """
    if not bool(are):
        raise ModelError(
            "the network gives NaN or infinity: take --precision fp32 if it runs in fp16 or bf16; if the scene holds "
            "values such as -3.4e38 where it has no data, pass them as --nodata; else the model is damaged"
        )


def whole_window(sample: Sample, part: Tensor) -> Tensor:
    """Place the logits (K, h, w) of the forwarded part in the window (K, T, T)."""
    if part.shape[1:] == sample.valid.shape:
        return part
    whole = part.new_zeros(part.shape[0], *sample.valid.shape)
    whole[:, *sample.part.slices] = part
    return whole
