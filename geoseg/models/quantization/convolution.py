"""A convolution of 8-bit integers by oneDNN. In: maps (B, C, H, W), 8-bit or floats. Out: 8-bit maps, or floats.

Scale and zero of each input channel are part of the weights and the bias, and those of each output channel of the
weights' scales and the bias: that is exact, as inputs are padded by replication and never by a zero of their own.
Integers beyond 0 and 255 are clamped, which is what an activation does that the outputs' range was found behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.convolution_padding import Padding, output_shape
from geoseg.models.padding import Pair, edge_convolved, is_column
from geoseg.models.quantization.quantized import Quantized, Scaling

_LARGEST_WEIGHT = 127


@dataclass(frozen=True)
class Inputs:
    """What a convolution takes."""

    scaling: Scaling
    """Of inputs that are floats."""
    mean: Tensor
    """Mean of each channel (C): what rounded weights add to mean inputs is taken from the bias, after Nagel et al.,
    Data-Free Quantization Through Weight Equalization and Bias Correction (ICCV 2019), 4.2."""


@dataclass(frozen=True)
class Outputs:
    """What a convolution gives."""

    scaling: Scaling | None
    """Of 8-bit outputs; None for floats."""
    is_summed: bool = False
    """Whether maps of the same scale are added, so that it waits for them."""


class _Packed(NamedTuple):
    """Weights laid out for the inputs and outputs of some scalings."""

    given: Scaling
    added: Scaling | None
    weights: Tensor
    scales: Tensor
    bias: Tensor


class QuantizedConv2d(nn.Module):
    """A convolution of integers, with its input padded by replication."""

    def __init__(self, layer: nn.Conv2d, padding: Padding, inputs: Inputs, outputs: Outputs):
        """Make it of a convolution of floats.

        Args:
            layer: the convolution.
            padding: its padding.
            inputs: what it takes.
            outputs: what it gives.
        """
        super().__init__()
        self._layer = (layer,)  # in a tuple it is no child: its weights are used packed
        self._padding, self._inputs, self._outputs = padding, inputs, outputs
        self._packed: dict[bool, _Packed] = {}

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        given = self._quantized(values)
        integers, scaling, outputs = given.integers, given.scaling, self._outputs
        if outputs.scaling is None:
            return self._convolved(integers, scaling, None, is_float=True)
        if not outputs.is_summed:
            found = self._convolved(integers, scaling, None, is_float=False)
            return Quantized(found, outputs.scaling)

        def sum_of(added: Quantized | None) -> Tensor:
            return self._convolved(integers, scaling, added, is_float=added is None)

        return Quantized(
            None, outputs.scaling, sum_of=sum_of, shape=output_shape(self._layer[0], self._padding, integers)
        )

    def _quantized(self, values: Tensor) -> Quantized:
        """Inputs as integers, those of floats by the range of training."""
        if isinstance(values, Quantized) and not values.is_float:
            return values
        floats = values.floats() if isinstance(values, Quantized) else values
        return Quantized(self._inputs.scaling.integers(floats), self._inputs.scaling)

    def _convolved(self, integers: Tensor, scaling: Scaling, added: Quantized | None, *, is_float: bool) -> Tensor:
        """Outputs (B, C', H', W') of integers: floats, or integers, with others of the same scale added."""
        layer, packed = self._layer[0], self._pack(scaling, added, is_float=is_float)
        dtype = torch.float32 if is_float else torch.uint8
        others = None if added is None else added.integers

        def convolve(part: Tensor, padding: Pair, rows: slice, cols: slice) -> Tensor:
            own = None if others is None else _copied(others[:, :, rows, cols])
            return _run(layer, packed, part, padding, dtype, own)

        padding = self._padding((integers.shape[2], integers.shape[3]))
        return edge_convolved(layer, padding, integers.contiguous(memory_format=torch.channels_last), convolve)

    def _pack(self, scaling: Scaling, added: Quantized | None, *, is_float: bool) -> _Packed:
        """The weights for inputs of a scaling, laid out once."""
        other = None if added is None else added.scaling
        found = self._packed.get(is_float)
        if found is None or not (_are_same(found.given, scaling) and _are_same(found.added, other)):
            out = None if is_float else self._outputs.scaling
            self._packed[is_float] = found = _pack(self._layer[0], self._inputs.mean, scaling, out, other)
        return found


def _are_same(one: Scaling | None, other: Scaling | None) -> bool:
    return one is other or (one is not None and other is not None and one.is_same(other))


def _copied(part: Tensor) -> Tensor:
    """A copy, to which something is added in place."""
    return part.clone(memory_format=torch.channels_last)


def _pack(layer: nn.Conv2d, mean: Tensor, given: Scaling, out: Scaling | None, added: Scaling | None) -> _Packed:
    """Weights and bias of a convolution for inputs of a scaling and outputs of another, or floats."""
    scale, zero, means = (_by_weight(layer, part) for part in (given.scale, given.zero, mean))
    own = layer.weight.detach().float()
    weights = own * scale
    scales = weights.abs().amax((1, 2, 3)).clamp_(min=torch.finfo(torch.float32).tiny) / _LARGEST_WEIGHT
    integers = (weights / scales.view(-1, 1, 1, 1)).round_().clamp_(-_LARGEST_WEIGHT, _LARGEST_WEIGHT)
    shift = (integers * zero).sum((1, 2, 3)) * scales
    rounded = integers * scales.view(-1, 1, 1, 1) / scale
    bias = ((own - rounded) * means).sum((1, 2, 3)) - shift
    if layer.bias is not None:
        bias = bias + layer.bias.detach().float()
    if out is not None:
        bias, scales = bias / out.scale + out.zero, scales / out.scale
    if added is not None:
        bias = bias - added.zero
    packed = torch.ops.onednn.qconv_prepack(
        integers.to(torch.int8), scales, 1.0, 0, list(layer.stride), [0, 0], list(layer.dilation), layer.groups, None
    )
    return _Packed(given, added, packed, scales, bias)


def _by_weight(layer: nn.Conv2d, values: Tensor) -> Tensor:
    """Values of each input channel (C), for each weight (C', C / groups, 1, 1)."""
    groups, each = layer.groups, layer.in_channels // layer.groups
    return values.view(groups, 1, each).expand(-1, layer.out_channels // groups, -1).reshape(-1, each, 1, 1)


def _run(
    layer: nn.Conv2d, packed: _Packed, part: Tensor, padding: Pair, dtype: torch.dtype, added: Tensor | None
) -> Tensor:
    """Convolve a part (B, C, h, w) of the integers, with zeros beyond it, and add other integers."""
    if is_column(layer, part, padding):
        wider = functional.pad(part, (0, layer.stride[1]))
        more = None if added is None else functional.pad(added, (0, 1))
        return _run(layer, packed, wider.contiguous(memory_format=torch.channels_last), padding, dtype, more)[..., :1]
    zeros = torch.zeros(layer.out_channels, dtype=torch.int64)
    places = list(layer.stride), list(padding), list(layer.dilation), layer.groups
    weights = packed.weights, packed.scales, zeros
    run: Any = torch.ops.onednn.qconv2d_pointwise
    if added is None:
        return run(part, 1.0, 0, *weights, packed.bias, *places, 1.0, 0, dtype, "none", [], "")  # type: ignore[no-any-return]
    return run.binary(  # type: ignore[no-any-return]
        part, 1.0, 0, *weights, added, packed.bias, *places, 1.0, 0, dtype, 1.0, 0, "sum", 1.0, "none", [], ""
    )
