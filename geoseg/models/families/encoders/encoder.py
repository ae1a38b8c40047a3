"""The contract of the encoders that are made of PyTorch alone. In: an image. Out: maps of features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Encoder(nn.Module):
    """Features of an image. Its weights are named as those of the encoder that smp builds for the same name."""

    out_channels: Sequence[int]
    """Channels of the image, then of each map."""

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image (B, C, H, W), and features of half its size, of a quarter, ...; fractions round up."""
        raise NotImplementedError
