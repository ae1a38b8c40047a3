"""The contract of a fusion. In: features of windows and of the views around them. Out: logits to be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.surroundings import Context


@dataclass(frozen=True)
class Widths:
    """Numbers of channels that a fusion takes and gives."""

    local: int
    """Features of a window, L."""
    context: int
    """Features of each level's views, F."""
    levels: int
    """Levels of the context."""
    classes: int
    """Classes, K."""


class Fusion(nn.Module):
    """Turns features of windows and of their surroundings into logits, which are added to those of the local network.

    To be subclassed with `__init__(widths, *, bias)` and `forward`. The head of the local network may be any module, so
    that features are not put back in front of it: the fusion has a last layer of its own.

    - Before it is trained, all logits are 0. All of it learns from the second step on.
    - Without `bias`, views whose features are 0 add logits of 0: places without data bring no evidence.
    - Windows and views have any sizes; a result depends neither on other windows of the batch nor on whether all have
      one view (1, F, h, w) or each its own.
    """

    def __init__(self, widths: Widths, *, bias: bool):
        """Make the layers; `bias` says whether the last one has biases."""
        super().__init__()

    def of_view(self, level: int, features: Tensor) -> Tensor:
        """What windows take of the features (B, F, h, w) of a level's views: maps (B, F', h', w').

        It is computed once per view, for all windows in it. By default it is the features themselves.
        """
        return features

    def forward(self, local: Tensor, context: Context, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size), float32, to be added to those of the local network.

        Args:
            local: features (B, L, h, w) that the local network passes to its head, averaged to the fusion's stride.
            context: what `of_view` makes of the views of all levels, and where the windows lie in them.
            size: height and width of the windows.
        """
        raise NotImplementedError


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (B, K, h, w) interpolated to (B, K, *size), float32."""
    return functional.interpolate(logits.float(), size=tuple(size), mode="bilinear", align_corners=False)
