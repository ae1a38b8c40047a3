"""A convolution of concatenated features, less what the window's own give alone."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Concatenation(nn.Module):
    """What a context changes of a 3 × 3 convolution of concatenated features: GELU(W [l; c]) - GELU(W [l; 0]).

    W [l; c] is the sum of a convolution of each. What l gives alone is subtracted, so that a context of 0 changes
    nothing: a branch that learns its own head on l would improve the local network, not show it its surroundings.
    """

    def __init__(self, local: int, context: int, out: int):
        """Make the convolutions of l (`local` channels) and c (`context` channels)."""
        super().__init__()
        self.local = nn.Conv2d(local, out, kernel_size=3, padding=1, padding_mode="replicate")
        self.context = nn.Conv2d(context, out, kernel_size=3, padding=1, padding_mode="replicate", bias=False)

    def forward(self, local: Tensor, context: Tensor) -> Tensor:
        """Features (B, out, h, w) of l (B, L, h, w) and c (B, C, h, w)."""
        alone = self.local(local)
        return functional.gelu(alone + self.context(context)) - functional.gelu(alone)
