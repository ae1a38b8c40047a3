"""Layers that several networks are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


def convolution(channels: int, out: int, side: int = 3) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation and ReLU: (B, channels, h, w) -> (B, out, h, w)."""
    layer = nn.Conv2d(channels, out, side, padding=side // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU(inplace=True))


def resized(values: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear, the pixels of both being areas (`align_corners=False`)."""
    return functional.interpolate(values, size=tuple(size), mode="bilinear", align_corners=False)


class PixelClassifier(nn.Sequential):
    """Classifies each pixel of a map: (B, channels, h, w) -> logits (B, classes, h stride, w stride).

    Logits are upsampled bilinearly with `align_corners=False`: each lies where its pixel of the map does, in windows of
    any size.
    """

    def __init__(self, channels: int, classes: int, stride: int, dropout: float = 0.0):
        super().__init__(
            nn.Dropout2d(dropout),
            nn.Conv2d(channels, classes, kernel_size=1),
            nn.Upsample(scale_factor=stride, mode="bilinear", align_corners=False),
        )


def starts_at_zero(layer: nn.Conv2d | nn.BatchNorm2d) -> nn.Module:
    """The layer, its weight and bias set to zero: a residual branch that ends with it adds nothing at first."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def rows_of(maps: Tensor) -> Tensor:
    """The pixels (B, h w, C) of maps (B, C, h, w)."""
    return maps.flatten(2).transpose(1, 2)


def maps_of(rows: Tensor, like: Tensor) -> Tensor:
    """Maps (B, C, h, w) of pixels (B, h w, C), of the size of other maps (B, C', h, w)."""
    return rows.transpose(1, 2).reshape(len(rows), -1, *like.shape[2:])
