"""GLNet-like fusion: features of the views and of the window are shared both ways, and aggregated.

Chen, Jiang, Wang, Cui and Qian, "Collaborative Global-Local Networks for Memory-Efficient Segmentation of Ultra-High
Resolution Images", CVPR 2019, section 3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.models.box_sampling import sample_boxes
from geoseg.models.families.layers import starts_at_zero
from geoseg.models.fusions.concatenation import Concatenation
from geoseg.models.fusions.fusion import Fusion, Widths, enlarged
from geoseg.models.surroundings import Context

BORDER = 2
"""Pixels of a view around a window that its features depend on: one of the convolution, one of the interpolation."""
ROUNDING = 1e-3
"""Share of a view's pixel by which sides of boxes may exceed a whole number."""


class GlnetFusion(Fusion):
    """Global features go into the window, local ones into the view, and both are aggregated to logits.

    Of the paper: *global to local*, the view's features are cropped to the window, enlarged, and concatenated with the
    window's. *Local to global*, the window's features are averaged to the pixels of the view, put back in their place,
    and concatenated with the view's. *Aggregation*, a 3 × 3 convolution of the features of both branches.

    Not of the paper:

    - Local features of the *other* windows are not in the view's: they are 0 outside the window. GLNet forwards all
      windows of an image, keeps their features, merges them into one global map, and forwards the windows again. A
      scene of any size is streamed: a window is finished before most others are read, and the processes that share a
      scene would have to wait for each other. Of a view, only what lies in the window and next to it is computed.
    - Features are shared once, before the heads, not at every stage of two equal encoders: the local network may be of
      any architecture. There is no penalty on the distance between local and global features.
    - What a window's own features give alone is subtracted, see `Concatenation`.

    The cost is that of a 3 × 3 convolution of a window at the fusion's stride, and of the same on the pixels of each
    view that the window covers.
    """

    def __init__(self, widths: Widths, *, bias: bool):
        super().__init__(widths, bias=bias)
        every = widths.context * widths.levels
        self.into_window = Concatenation(widths.local, every, widths.context)
        self.into_views = nn.ModuleList(
            Concatenation(widths.local, widths.context, widths.context) for _ in range(widths.levels)
        )
        aggregated = nn.Conv2d(
            widths.context + every, widths.classes, kernel_size=3, padding=1, padding_mode="replicate", bias=bias
        )
        self.out = starts_at_zero(aggregated)

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of features (B, L, h, w) and their context."""
        views = list(zip(context.maps, context.boxes, strict=True))
        seen = torch.cat([sample_boxes(*view, local.shape[-2:]) for view in views], dim=1)
        shared = [self.put_back(level, local, *view) for level, view in enumerate(views)]
        return enlarged(self.out(torch.cat([self.into_window(local, seen), *shared], dim=1)), size)

    def put_back(self, level: int, local: Tensor, maps: Tensor, boxes: Tensor) -> Tensor:
        """Features (B, F, h, w) of views (B or 1, F, n, n) to which those of windows (B, L, h, w) were added.

        They are computed for the pixels of the view in and around the window's box, and resampled to the window.
        """
        height, width = maps.shape[-2:]
        edges = boxes.float() * boxes.new_tensor([width, height, width, height])
        left, top, right, bottom = edges.unbind(dim=1)
        rows, cols = _pixels(top, bottom), _pixels(left, right)
        inside = torch.stack([left - cols[:, 0], top - rows[:, 0], right - cols[:, 0], bottom - rows[:, 0]], dim=1)
        sides = inside.new_tensor([cols.shape[1], rows.shape[1]] * 2)
        rows, cols = rows.clamp(0, height - 1), cols.clamp(0, width - 1)  # views are continued by their edges
        down, across = _coverage(rows, top, bottom, local.shape[-2]), _coverage(cols, left, right, local.shape[-1])
        placed = down[:, None] @ local.float() @ across[:, None].transpose(2, 3)
        which = torch.arange(len(local), device=maps.device)[:, None, None]
        cropped = maps.expand(len(local), -1, -1, -1)[which, :, rows[:, :, None], cols[:, None, :]]
        joined = self.into_views[level](placed, cropped.permute(0, 3, 1, 2))
        return sample_boxes(joined, inside / sides, local.shape[-2:])


def _pixels(start: Tensor, stop: Tensor) -> Tensor:
    """Indexes (B, M) of the pixels of an axis from `start` to `stop` (B) and `BORDER` more to either side."""
    most = int(torch.ceil((stop - start).max() - ROUNDING)) + 1 + 2 * BORDER
    return start.floor().long()[:, None] - BORDER + torch.arange(most, device=start.device)


def _coverage(pixels: Tensor, start: Tensor, stop: Tensor, count: int) -> Tensor:
    """Shares (B, M, count) of a view's pixels (B, M) that each of `count` equal parts from start to stop (B) covers."""
    parts = torch.arange(count + 1, device=start.device) / count
    edges = (start[:, None] + (stop - start)[:, None] * parts)[:, None, :]  # (B, 1, count + 1)
    first = pixels[:, :, None].float()
    return (edges[..., 1:].minimum(first + 1) - edges[..., :-1].maximum(first)).clamp_(min=0)
