"""Class weights of losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def class_weights(counts: Sequence[float], how: str | Sequence[float]) -> Tensor:
    """Weight of each class (K,), float32: as given, or by the class's share of the pixels.

    `inverse` is 1 / share and `sqrt_inverse` its root, scaled to the mean 1 over the classes that occur.
    `median_frequency` is the median share / share (Eigen & Fergus 2015, section 6.3.2), so that a class of middling
    frequency weighs 1. The paper counts a class only over the images that show it; over all training labels, as here,
    it has the proportions of `inverse`, and in a weighted mean its effect. Classes without a pixel weigh 0, not
    infinity.
    """
    if not isinstance(how, str):
        return torch.tensor(how, dtype=torch.float32)
    pixels = torch.tensor(counts, dtype=torch.float64)
    occurs = pixels > 0
    shares = pixels[occurs] / pixels.sum()
    rare = {"inverse": 1 / shares, "sqrt_inverse": shares.rsqrt(), "median_frequency": _median(shares) / shares}[how]
    weights = torch.zeros_like(pixels)
    weights[occurs] = rare if how == "median_frequency" else rare / rare.mean()
    return weights.float()


def _median(values: Tensor) -> Tensor:
    """Median; of an even number of values the mean of the middle two, which torch.median does not give."""
    return values.quantile(0.5) if len(values) else values.sum()
