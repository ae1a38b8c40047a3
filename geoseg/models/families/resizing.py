"""Maps of features at another size. In: a map. Out: the map, interpolated."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def resized(values: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, the pixels of both being areas (`align_corners=False`)."""
    return functional.interpolate(values, size=tuple(size), mode="bilinear", align_corners=False)
