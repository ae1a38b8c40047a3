"""FCtL: attention of a window's features to each of the wider windows around it, and a weighted sum of these.

Li, Yang, Liu, Yu and He, "From Contexts to Locality: Ultra-high Resolution Image Segmentation via Locality-aware
Contextual Correlation", ICCV 2021, section 3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.layers import maps_of, rows_of
from geoseg.models.families.pixel_attention import attend
from geoseg.models.fusions.fusion import Fusion, Widths, enlarged
from geoseg.models.surroundings import Context

KEYS = 16
"""Most keys along a side of a view, to which its features are averaged: 508 / 32, as many as in the paper."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The box of a whole view."""


class FctlFusion(Fusion):
    """Each pixel of a window attends to all places of each view; a weighted sum of the answers becomes logits.

    Of the paper: for each level k the correlation A_k = softmax(Q_k K_kᵀ) V_k, queries from the window and keys and
    values from the view, unscaled; its factor γ_k, which starts at 0; weights of the levels for each pixel and channel,
    the softmax over levels of the sigmoids of a linear map of all γ_k A_k; and the residual Σ w_k γ_k A_k. With one
    level its weight is 1.

    Not of the paper:

    - The residual becomes logits by a linear layer of its own, instead of passing the rest of an FCN-8s.
    - The window's correlation with itself is left out: it shows nothing of the surroundings, and where views are empty
      it would still change the local network's answer.
    - The two wider windows are levels (ratios 2 and 3 in the paper), seen once for all windows in a view. A view is
      centred on its core and not on the window, so that affinities may also depend on where a place lies: they are
      lowered by a_k times the squared distance, in 1/16 of the view's side. a_k starts at 0, as in the paper.

    A window of S × S pixels has (S / 4)² queries and each view at most 16 × 16 keys: with 16 channels some 600
    multiplications per pixel of the window and level, in windows of any size.
    """

    def __init__(self, widths: Widths, *, bias: bool):
        super().__init__(widths, bias=bias)
        self.levels, self.channels = widths.levels, widths.context
        some, together = range(widths.levels), widths.levels * widths.context
        self.queries = nn.ModuleList(nn.Conv2d(widths.local, widths.context, kernel_size=1) for _ in some)
        # A bias of the keys would change no softmax, one of the values would be evidence of places without data.
        self.keys = nn.ModuleList(nn.Conv2d(widths.context, widths.context, 1, bias=False) for _ in some)
        self.values = nn.ModuleList(nn.Conv2d(widths.context, widths.context, 1, bias=False) for _ in some)
        self.nearness = nn.Parameter(torch.zeros(widths.levels))
        self.factors = nn.Parameter(torch.zeros(widths.levels))
        self.weigh = nn.Conv2d(together, together, kernel_size=1)  # the paper's three linear layers in a row
        self.out = nn.Conv2d(widths.context, widths.classes, kernel_size=1, bias=bias)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def of_view(self, level: int, features: Tensor) -> Tensor:
        """Keys and values (B, 2 F, m, m) of the features (B, F, n, n) of a view."""
        height, width = (-(-side // -(-side // KEYS)) for side in features.shape[-2:])
        few = functional.adaptive_avg_pool2d(features, (height, width))
        return torch.cat([self.keys[level](few), self.values[level](few)], dim=1)

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of features (B, L, h, w), and of keys and values of their views."""
        answers = [self.correlation(level, local, context) for level in range(self.levels)]
        scaled = [factor * answer for factor, answer in zip(self.factors, answers, strict=True)]
        return enlarged(self.out((self.weights(scaled) * torch.stack(scaled, dim=1)).sum(dim=1)), size)

    def weights(self, answers: Sequence[Tensor]) -> Tensor:
        """Weights (B, levels, F, h, w) of the answers (B, F, h, w) of all levels; their sum over levels is 1."""
        grades: Tensor = self.weigh(torch.cat(list(answers), dim=1)).sigmoid()
        return grades.reshape(len(grades), self.levels, self.channels, *grades.shape[2:]).softmax(dim=1)

    def correlation(self, level: int, local: Tensor, context: Context) -> Tensor:
        """The mean of a view's values (B, F, h, w), weighted for each pixel of a window by its affinity to the keys."""
        maps, boxes = context.maps[level].expand(len(local), -1, -1, -1), context.boxes[level]
        queries, (keys, values) = self.queries[level](local), maps.chunk(2, dim=1)
        centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        here = KEYS * (_places(boxes, local.shape[-2:]) - centres)
        there = KEYS * (_places(boxes.new_tensor(WHOLE).expand_as(boxes), maps.shape[-2:]) - centres)
        with torch.autocast(local.device.type, enabled=False):  # 16 bits would move places by whole pixels
            # Less -a |p|² of the query's own place, which changes no softmax: q·k - a |p - p'|².
            near = self.nearness[level] * there
            queries = torch.cat([rows_of(queries.float()), here, torch.ones_like(here[..., :1])], dim=2)
            keys = torch.cat([rows_of(keys.float()), 2 * near, -(near * there).sum(dim=2, keepdim=True)], dim=2)
            return maps_of(attend(queries, keys, rows_of(values.float())), local)


def _places(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Centres (B, h w, 2) of the pixels of maps of h × w pixels that fill boxes (B, 4), as shares of a view: x, y."""
    left, top, right, bottom = (part[:, None] for part in boxes.float().unbind(dim=1))
    rows, cols = ((torch.arange(side, device=boxes.device) + 0.5) / side for side in size)
    shape = len(boxes), len(rows), len(cols)
    x = (left + (right - left) * cols)[:, None, :].expand(shape)
    y = (top + (bottom - top) * rows)[:, :, None].expand(shape)
    return torch.stack([x, y], dim=3).flatten(1, 2)
