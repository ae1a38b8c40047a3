"""How a convolution pads its input. In: a layer of any kind. Out: pixels of padding, for an input of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.padding import EdgeConv2d, EdgePad2d, fixed_padding, output_count, replicated

Padding = Callable[[tuple[int, int]], tuple[int, int, int, int]]
"""Pixels of padding at the left, right, top and bottom of an input of a height and width."""


def output_shape(layer: nn.Conv2d, padding: Padding, values: Tensor) -> tuple[int, ...]:
    """Shape (B, C', H', W') of the outputs of a convolution for an input (B, C, H, W)."""
    height, width = values.shape[2], values.shape[3]
    left, right, top, bottom = padding((height, width))
    sizes = height + top + bottom, width + left + right
    return values.shape[0], layer.out_channels, *(output_count(layer, sizes[axis], axis) for axis in (0, 1))


def is_padded_alike(layer: nn.Module) -> bool:
    """Whether a module is a convolution of a known padding, by replication if any."""
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and padding_of(layer) is not None


def same_padding(layer: nn.Conv2d) -> Padding:
    """The padding by which outputs are as many as inputs over strides, rounded up."""

    def of_size(size: tuple[int, int]) -> tuple[int, int, int, int]:
        (top, bottom), (left, right) = (_same(layer, length, axis) for axis, length in enumerate(size))
        return left, right, top, bottom

    return of_size


def _same(layer: nn.Conv2d, length: int, axis: int) -> tuple[int, int]:
    stride, reach = layer.stride[axis], layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
    total = max(0, (-(-length // stride) - 1) * stride + reach - length)
    return total // 2, total - total // 2


def padding_of(layer: nn.Conv2d) -> Padding | None:
    """The padding of a convolution; None if it is of a kind that is unknown."""
    if type(layer) in (nn.Conv2d, EdgeConv2d):
        fixed = fixed_padding(layer)
        pads = any(fixed)
        return _always(fixed) if isinstance(layer, EdgeConv2d) or not pads else None
    return next((padding for padding in _candidates(layer) if _is_right(layer, padding)), None)


def _candidates(layer: nn.Conv2d) -> Iterator[Padding]:
    """How a convolution with a padding of its own may pad."""
    yield same_padding(layer)
    for child in layer.children():
        if isinstance(child, EdgePad2d):
            yield _always(child.padding)


def _always(padding: tuple[int, int, int, int]) -> Padding:
    return lambda _size: padding


def _is_right(layer: nn.Conv2d, padding: Padding) -> bool:
    """Whether a convolution, in a network that replicates edges, pads in a way."""
    for side in (32, 33):
        values = torch.rand(1, layer.in_channels, side, side + 2, generator=torch.Generator().manual_seed(0))
        left, right, top, bottom = padding((side, side + 2))
        padded = replicated(values, (left, right), (top, bottom))
        with torch.inference_mode():
            wanted = functional.conv2d(padded, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)
            try:
                found = layer(values)
            except Exception:  # a layer of another package, which takes something else besides
                return False
        if found.shape != wanted.shape or not torch.allclose(found, wanted, atol=1e-4):
            return False
    return True
