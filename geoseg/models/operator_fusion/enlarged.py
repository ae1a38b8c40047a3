"""A convolution of 3 x 3 pixels over maps that are enlarged twofold, computed on the maps as they were.

In: maps (B, C, h, w) whose pixels each stand for 2 x 2. Out: outputs (B, C', 2h, 2w). Of three rows of enlarged maps,
two are equal: two rows of the maps make a row of outputs, with kernels whose equal rows are summed; columns likewise.
That takes 6 products instead of 9, and the enlarged maps are never made. Two columns of outputs that lie beside each
other are computed as channels that do, so that only rows have to be put in their places. It is the equality of Shi et
al., Is the deconvolution layer the same as a convolutional layer? (2016), taken the other way.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from geoseg.models.padding import fixed_padding, replicated

ROWS = 0, 1
"""Even and odd rows of the outputs."""
_ROOM = 1.02
"""By what sums of rounded weights may exceed those of exact ones."""
_LEAST = 2.0**-100
"""Weights whose sums are smaller are rounded as if they were not."""


def takes_enlarged(layer: nn.Conv2d) -> bool:
    """Whether a convolution is one of 3 x 3 pixels with a padding of 1."""
    is_plain = (*layer.stride, *layer.dilation, layer.groups) == (1,) * 5
    return is_plain and tuple(layer.kernel_size) == (3, 3) and tuple(fixed_padding(layer)) == (1,) * 4


def row_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (2 C', C, 2, 3) of even and of odd rows of outputs, of (C', C, 3, 3); even columns before odd ones."""
    even, odd = (_columns(rows) for rows in _halves(weight, 2))
    return even, odd


def evenly_rounded(weight: Tensor) -> Tensor:
    """Weights (C', C, 3, 3) rounded so that bfloat16 holds their sums in `row_weights` exactly.

    Otherwise the four outputs of an enlarged pixel differ by rounding where they should not: uniform areas get a
    pattern. All weights of one input and output are multiples of one step, as in fixed-point numbers of 9 bits.
    """
    sums = [cols.abs().amax((2, 3)) for rows in _halves(weight, 2) for cols in _halves(rows, 3)]
    largest = torch.stack([weight.abs().amax((2, 3)), *sums]).amax(0).clamp(min=_LEAST)
    step = (torch.exp2(torch.ceil(torch.log2(largest * _ROOM))) / 256)[:, :, None, None]
    return (weight / step).round() * step


def _halves(weight: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Weights of the first and the second of two equal outputs along an axis, for two instead of three pixels."""
    first, middle, last = weight.unbind(axis)
    return torch.stack([first, middle + last], axis), torch.stack([first + middle, last], axis)


def _columns(weight: Tensor) -> Tensor:
    left, right = _halves(weight, 3)
    none = torch.zeros_like(left[..., :1])
    return torch.cat([torch.cat([left, none], 3), torch.cat([none, right], 3)])


def enlarged_convolved(maps: Tensor, channels: int, convolve: Callable[[Tensor, int], Tensor]) -> Tensor:
    """Outputs (B, channels, 2h, 2w), channels last, for maps (B, C, h, w), padded by replication.

    Args:
        maps: the maps before they are enlarged.
        channels: channels of the outputs.
        convolve: the outputs (B, 2 * channels, h, w), channels last, of a part (B, C, h + 1, w + 2), with the weights
            of even (0) or odd (1) rows.
    """
    count, _, height, width = maps.shape
    padded = replicated(maps, (1, 1), (1, 1))
    answer = torch.empty((count, channels, 2 * height, 2 * width), dtype=maps.dtype, memory_format=torch.channels_last)
    for row in ROWS:
        found = convolve(padded[:, :, row : row + height + 1], row)
        pixels = found.permute(0, 2, 3, 1).reshape(count, height, 2 * width, channels)
        answer[:, :, row::2] = pixels.permute(0, 3, 1, 2)
    return answer
