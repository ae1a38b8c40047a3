"""Multi-head self-attention within square windows of a map.

Liu et al., "Swin Transformer", ICCV 2021, section 3.2 and equation 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class WindowAttention(nn.Module):
    """Attention of each pixel to those of its window: (B, C, h, w) -> (B, C, h, w).

    Sides that are no multiples of the window are padded by replication. Of equal pixels, every mean is the same pixel,
    so that a uniform map stays uniform. Subclasses say how affinities depend on places.
    """

    def __init__(self, channels: int, heads: int, window: int):
        """Make the layers; channels are a multiple of the heads."""
        super().__init__()
        self.heads, self.window = heads, window
        self.to_qkv = nn.Conv2d(channels, 3 * channels, kernel_size=1, bias=False)

    def affinities(self) -> Tensor:
        """What is added to the affinities of two pixels of a window, by their places (heads, w², w²)."""
        raise NotImplementedError

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        height, width = values.shape[-2:]
        down, across = -height % self.window, -width % self.window
        if down or across:
            values = functional.pad(values, (0, across, 0, down), mode="replicate")
        q, k, v = self._in_windows(self.to_qkv(values)).unbind()
        attended = functional.scaled_dot_product_attention(q, k, v, attn_mask=self.affinities().to(q.dtype))
        return self._joined(attended, values)[:, :, :height, :width]

    def _in_windows(self, qkv: Tensor) -> Tensor:
        """Queries, keys and values (3, B windows, heads, w², C / heads) of a map (B, 3 C, h, w)."""
        side = self.window
        count, channels, height, width = qkv.shape
        shape = count, 3, self.heads, channels // 3 // self.heads, height // side, side, width // side, side
        ordered = qkv.reshape(shape).permute(1, 0, 4, 6, 2, 5, 7, 3)
        return ordered.reshape(3, -1, self.heads, side * side, shape[3])

    def _joined(self, attended: Tensor, like: Tensor) -> Tensor:
        """The map (B, C, h, w) of windows (B windows, heads, w², C / heads)."""
        side = self.window
        count, channels, height, width = like.shape
        shape = count, height // side, width // side, self.heads, side, side, channels // self.heads
        return attended.reshape(shape).permute(0, 3, 6, 1, 4, 2, 5).reshape(like.shape)


class RelativeBiasAttention(WindowAttention):
    """Attention with a learned bias for each offset between two pixels (equation 4)."""

    offsets: Tensor
    """Index of the offset between two pixels of a window (w², w²)."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__(channels, heads, window)
        self.bias = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("offsets", _offsets(window), persistent=False)

    def affinities(self) -> Tensor:
        """The biases of all offsets (heads, w², w²)."""
        return self.bias[self.offsets].permute(2, 0, 1)


def _offsets(side: int) -> Tensor:
    """Index of the offset (down, across) from each pixel of a window to each (side², side²)."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    steps = places[:, None] - places[None, :] + side - 1
    return steps[..., 0] * (2 * side - 1) + steps[..., 1]
