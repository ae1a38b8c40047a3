"""A convolution by oneDNN that also adds and activates, and takes enlarged maps as they were.

In: maps (B, C, H, W). Out: maps that wait for what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.convolution_padding import Padding, output_shape
from geoseg.models.operator_fusion.activations import AFTER_SUMS, NONE, Activation
from geoseg.models.operator_fusion.enlarged import enlarged_convolved, takes_enlarged
from geoseg.models.operator_fusion.maps import Content, Maps, Part, joined
from geoseg.models.operator_fusion.weights import LayerWeights, Weights
from geoseg.models.padding import Pair, edge_convolved


class FusedConv2d(nn.Module):
    """A convolution on the CPU with its input padded by replication, in evaluation mode."""

    def __init__(self, layer: nn.Conv2d, padding: Padding):
        """Make it of a plain convolution, whose weights do not change any more, and its padding."""
        super().__init__()
        self._layer = (layer,)  # in a tuple it is no child
        self._padding = padding
        self._takes_enlarged = takes_enlarged(layer)
        self._weights: dict[torch.dtype, LayerWeights] = {}
        self.waits = self.is_tried = True
        """Whether its outputs wait for what follows; and whether it is being found out if that pays."""

    def __getattr__(self, name: str) -> Any:
        """What else is asked of the convolution, such as its weight, by layers that compute with it themselves."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._layer[0], name)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        content = values.content if isinstance(values, Maps) else Content.of(values)
        if not content.parts:
            content.computed()
        parts = content.parts or (Part(content, False),)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else values.dtype

        def convolve(added: Tensor | None, activation: Activation) -> Tensor:
            return self._convolved(parts, dtype, added, activation)

        made = Content(
            output_shape(self._layer[0], self._padding, values), dtype, convolve=convolve,
            sources=tuple(part.content for part in parts), on_reuse=self._wait_no_more if self.is_tried else None,
        )  # fmt: skip
        if not self.waits or not isinstance(values, Maps) or any(part.content.is_shared for part in parts):
            made.computed()  # others may change what it reads
        return Maps.of(made)

    def _wait_no_more(self) -> None:
        self.waits = False

    def end_trial(self) -> None:
        """Keep what was found out, and nothing else."""
        self.is_tried = False
        self._weights.clear()

    def _convolved(
        self, parts: Sequence[Part], dtype: torch.dtype, added: Tensor | None, activation: Activation
    ) -> Tensor:
        """Outputs (B, C', H', W') of maps beside each other."""
        enlarged = [Part(part.content, False) for part in parts if part.is_enlarged]
        is_split = 0 < len(enlarged) < len(parts)
        if not enlarged or not self._takes_enlarged or added is not None or (is_split and activation not in AFTER_SUMS):
            return self._at_edges(_laid(parts, dtype), self._kept(dtype).whole, added, activation)
        others = [part for part in parts if not part.is_enlarged]
        weights = self._kept(dtype).split(tuple((part.content.shape[1], part.is_enlarged) for part in parts))

        def convolve(part: Tensor, row: int) -> Tensor:
            return weights.rows[row].convolved(part, (0, 0), None, NONE if others else activation)

        answer = enlarged_convolved(_laid(enlarged, dtype), self._layer[0].out_channels, convolve)
        return self._at_edges(_laid(others, dtype), weights.others, answer, activation) if others else answer

    def _at_edges(self, values: Tensor, weights: Weights, added: Tensor | None, activation: Activation) -> Tensor:
        """Outputs of values (B, C, H, W) padded by replication."""

        def convolve(part: Tensor, padding: Pair, rows: slice, cols: slice) -> Tensor:
            return weights.convolved(part, padding, None if added is None else added[:, :, rows, cols], activation)

        return edge_convolved(self._layer[0], self._padding((values.shape[2], values.shape[3])), values, convolve)

    def _kept(self, dtype: torch.dtype) -> LayerWeights:
        if dtype not in self._weights:
            self._weights[dtype] = LayerWeights(self._layer[0], dtype)
        return self._weights[dtype]


def _laid(parts: Sequence[Part], dtype: torch.dtype) -> Tensor:
    """Maps beside each other (B, C, h, w), channels last."""
    return joined(parts).to(dtype).contiguous(memory_format=torch.channels_last)
