"""SGNet-like fusion: views integrate their own surroundings, and are concatenated with the window at the end.

Wang, Lin, Wu and Du, "Toward Real Ultra Image Segmentation: Leveraging Surrounding Context to Cultivate General
Segmentation Model", NeurIPS 2024. Written from its description: the parts are those of its ablations, how they are
joined is geoseg's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.box_sampling import sample_boxes
from geoseg.models.families.layers import starts_at_zero
from geoseg.models.families.window_attention import WindowAttention
from geoseg.models.fusions.concatenation import Concatenation
from geoseg.models.fusions.fusion import Fusion, Widths, enlarged
from geoseg.models.surroundings import Context

WINDOW = 8
"""Side of the windows of attention, in pixels of a view's features."""
HEAD_CHANNELS = 8
"""Fewest channels of a head of attention."""


class SgnetFusion(Fusion):
    """The surrounding branch: attention within windows and a global mean on each view, concatenated late.

    Of the paper: the *surrounding context integration* of the features of a wider area, whose parts are multi-head
    attention within windows, global average pooling, and a convolution; and *late concatenation*: the branch's features
    are cropped to the window and joined to those of any segmentation model just before its head.

    Not of the paper:

    - Windows of attention and the mean are those of a view, which all windows in it share: they are computed once. The
      mean changes from one view to the next.
    - There is no loss on the borders of neighbouring windows: training windows have no neighbours, and predicted ones
      overlap and are blended.
    - What a window's own features give alone is subtracted, see `Concatenation`.

    With 16 channels, a pixel of a view's features costs some 7,500 multiplications more, a window as many as with the
    gated fusion.
    """

    def __init__(self, widths: Widths, *, bias: bool):
        super().__init__(widths, bias=bias)
        every = widths.context * widths.levels
        self.integrate = nn.ModuleList(SurroundingContext(widths.context) for _ in range(widths.levels))
        self.join = Concatenation(widths.local, every, every)
        self.out = starts_at_zero(nn.Conv2d(every, widths.classes, kernel_size=1, bias=bias))

    def of_view(self, level: int, features: Tensor) -> Tensor:
        """The integrated features (B, F, n, n) of a view's (B, F, n, n)."""
        integrated: Tensor = self.integrate[level](features)
        return integrated

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of features (B, L, h, w) and their context."""
        seen = [sample_boxes(*level, local.shape[-2:]) for level in zip(context.maps, context.boxes, strict=True)]
        return enlarged(self.out(self.join(local, torch.cat(seen, dim=1))), size)


class SurroundingContext(nn.Module):
    """Attention within windows, and the mean of the whole map: (B, F, n, n) -> (B, F, n, n), 0 where all is 0."""

    def __init__(self, channels: int):
        super().__init__()
        heads = max(1, channels // HEAD_CHANNELS)
        self.attention = DistanceAttention(channels, heads if channels % heads == 0 else 1, WINDOW)
        self.join = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1, padding_mode="replicate", bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Features that know their window, and the view."""
        mean = pooled(features).expand_as(features)
        return functional.gelu(self.join(torch.cat([features + self.attention(features), mean], dim=1)))


def pooled(features: Tensor) -> Tensor:
    """The mean (B, F, 1, 1) of features (B, F, n, n): global average pooling."""
    return features.mean(dim=(2, 3), keepdim=True)


class DistanceAttention(WindowAttention):
    """Attention in whose windows affinities fall with the square of the distance, by a factor for each head."""

    distances: Tensor
    """Squared distances between the pixels of a window (w², w²), in pixels."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__(channels, heads, window)
        self.nearness = nn.Parameter(torch.zeros(heads))
        places = torch.cartesian_prod(torch.arange(window), torch.arange(window)).float()
        self.register_buffer("distances", torch.cdist(places, places).square(), persistent=False)

    def affinities(self) -> Tensor:
        """What is added to affinities (heads, w², w²)."""
        return -self.nearness[:, None, None] * self.distances
