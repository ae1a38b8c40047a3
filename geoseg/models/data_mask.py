"""Which pixels of a window hold data, found by the values that replace those without.

In: windows as networks get them, and the mean of each band. Out: a mask. Where a scene has no data, windows of
fractions have the mean of each band, windows of whole numbers the mean rounded, and resampled ones either.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

ROUNDING = 1e-4
"""Deviation of normalised fill from its value, in standard deviations of a band."""


def stand_ins(mean: Tensor, *, is_whole: bool) -> Tensor:
    """The values (N, C) of pixels without data, given the mean of each band (C,).

    Args:
        mean: of each band.
        is_whole: whether values may be whole numbers.
    """
    return torch.stack([mean, mean.round()]) if is_whole else mean.unsqueeze(0)


def holds_data(values: Tensor, without: Tensor, rounding: float | Tensor) -> Tensor:
    """Which pixels (B, 1, H, W) of values (B, C, H, W) have, in any band, another value than those without data (N, C).

    A pixel with data that has that very value in all bands counts as without.

    Args:
        values: of all bands.
        without: values of pixels without data.
        rounding: largest deviation from these.
    """
    missing = torch.zeros_like(values[:, :1], dtype=torch.bool)
    for one in without:
        missing |= ((values - one.view(1, -1, 1, 1)).abs() <= rounding).all(dim=1, keepdim=True)
    return ~missing


def normalized_stand_ins(mean: Tensor, std: Tensor) -> Tensor:
    """The normalised values (2, C) of pixels without data, of a network's mean and standard deviation per band (C,).

    Rounded means count in bands whose values are whole numbers, as a standard deviation of 1 or more says.
    """
    rounded = torch.where(std >= 1, mean.round(), mean)
    return torch.stack([torch.zeros_like(mean), (rounded - mean) / std])


def mask_at(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask (B, 1, H, W) on a map of features, (B, 1, h, w): at least half of a pixel holds data."""
    return functional.interpolate(mask.float(), size=tuple(size), mode="area") >= 0.5
