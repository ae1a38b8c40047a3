"""Weights of a convolution as oneDNN wants them. In: a layer. Out: what convolves with all or some of its weights."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.operator_fusion.activations import NONE, Activation
from geoseg.models.operator_fusion.enlarged import evenly_rounded, row_weights
from geoseg.models.padding import Pair, is_column

_MOST_LAYOUTS = 6
"""Sizes of inputs for which weights are kept as oneDNN wants them, the latest ones."""
Widths = tuple[tuple[int, bool], ...]
"""Channels of maps beside each other, and whether they are enlarged."""


class Weights:
    """Weights and bias of a convolution, or a part of them, in one arithmetic."""

    def __init__(self, layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, dtype: torch.dtype):
        """Take the strides, dilation and groups of a layer, and a weight and a bias instead of its own."""
        self._layer = layer
        self._weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self._bias = None if bias is None else bias.detach().to(dtype)
        self._laid_out: dict[Any, Tensor] = {}

    def convolved(self, part: Tensor, padding: Pair, added: Tensor | None, activation: Activation) -> Tensor:
        """Outputs (B, C', h', w'), channels last, of values (B, C, h, w) with zeros beyond them.

        Args:
            part: the values.
            padding: rows of zeros above and below, columns at the left and right.
            added: maps that are added to the outputs.
            activation: what becomes of the sum.
        """
        if is_column(self._layer, part, padding):
            wider = functional.pad(part, (0, self._layer.stride[1]))
            more = None if added is None else functional.pad(added, (0, 1))
            return self.convolved(wider, padding, more, activation)[..., :1]
        part = part.contiguous(memory_format=torch.channels_last)
        places = list(padding), list(self._layer.stride), list(self._layer.dilation), self._layer.groups
        given = self._layout(tuple(part.shape), padding), self._bias, *places
        run: Any = torch.ops.mkldnn._convolution_pointwise
        name, numbers, algorithm = activation
        if added is None:
            return run(part, *given, name, list(numbers), algorithm)  # type: ignore[no-any-return]
        follows = None if activation == NONE else name
        others = added.contiguous(memory_format=torch.channels_last)
        return run.binary(part, others, *given, "add", 1.0, follows, [], "")  # type: ignore[no-any-return]

    def _layout(self, shape: tuple[int, ...], padding: Pair) -> Tensor:
        """The weights as oneDNN wants them for an input of a shape."""
        key = shape, tuple(padding)
        found = self._laid_out.get(key)
        if found is None:
            layer, kept = self._layer, self._laid_out
            if len(kept) >= _MOST_LAYOUTS:
                kept.pop(next(iter(kept)), None)
            kept[key] = found = torch.ops.mkldnn._reorder_convolution_weight(
                self._weight, list(padding), list(layer.stride), list(layer.dilation), layer.groups, list(shape)
            )
        return found


class Split(NamedTuple):
    """Weights for maps of which some are enlarged."""

    rows: tuple[Weights, Weights]
    """Of the enlarged maps, for even and for odd rows of outputs."""
    others: Weights
    """Of the others."""


class LayerWeights:
    """The weights of a layer, whole and split."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype):
        """Take the weights of a layer for one arithmetic."""
        self._layer, self._dtype = layer, dtype
        self._splits: dict[Widths, Split] = {}

    @cached_property
    def whole(self) -> Weights:
        """All of them."""
        return Weights(self._layer, self._layer.weight, self._layer.bias, self._dtype)

    def split(self, widths: Widths) -> Split:
        """Those of enlarged maps and those of others; the bias is with the others, or where there are none, with both
        rows."""
        if widths not in self._splits:
            self._splits[widths] = self._split(widths)
        return self._splits[widths]

    def _split(self, widths: Widths) -> Split:
        parts = torch.split(self._layer.weight.detach(), [channels for channels, _ in widths], dim=1)
        enlarged, others = ([part for part, (_, is_low) in zip(parts, widths, strict=True) if is_low is wanted]
                            for wanted in (True, False))  # fmt: skip
        bias = self._layer.bias
        own = None if others or bias is None else torch.cat([bias, bias])
        weight = torch.cat(enlarged, 1)
        given = evenly_rounded(weight) if self._dtype == torch.bfloat16 else weight
        even, odd = (Weights(self._layer, rows, own, self._dtype) for rows in row_weights(given))
        none = self._layer.weight[:, :0]
        return Split((even, odd), Weights(self._layer, torch.cat([none, *others], 1), bias, self._dtype))
