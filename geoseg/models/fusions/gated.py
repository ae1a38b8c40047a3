"""Gated fusion: the context is weighted by a gate that sees both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.models.box_sampling import sample_boxes
from geoseg.models.families.layers import starts_at_zero
from geoseg.models.fusions.fusion import Fusion, Widths, enlarged
from geoseg.models.surroundings import Context


class GatedFusion(Fusion):
    """Turns the features of all levels into logits, weighted by a gate.

    W0 (g c) with g = sigmoid(W2 GELU(W1 [l; c])), where c are the features of all levels, resampled to the window, and
    l those that the local network passes to its segmentation head. W0 starts at zero: an untrained branch adds nothing.

    Computed at a stride of a few pixels, l being averaged: c is coarser than that, and on every pixel a dozen passes
    over memory would cost half of a U-Net. Heads are linear, so that adding logits is as expressive as adding features
    before the head.
    """

    def __init__(self, widths: Widths, *, bias: bool):
        super().__init__(widths, bias=bias)
        context = widths.context * widths.levels
        self.gate = nn.Sequential(
            nn.Conv2d(widths.local + context, context, kernel_size=3, padding=1, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(context, context, kernel_size=1),
        )
        self.out = starts_at_zero(nn.Conv2d(context, widths.classes, kernel_size=1, bias=bias))

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of features (B, L, h, w) and their context."""
        seen = [sample_boxes(*level, local.shape[-2:]) for level in zip(context.maps, context.boxes, strict=True)]
        together = torch.cat(seen, dim=1)
        gate = self.gate(torch.cat([local, together], dim=1)).sigmoid()
        return enlarged(self.out(gate * together), size)
