"""A U-Net (Ronneberger et al. 2015) over one of `ENCODERS`, made of PyTorch alone.

In: a NetworkSpec. Out: the network that segmentation-models-pytorch and timm build for it, with the same names of
weights and the same arithmetic, but without importing their other architectures, which takes seconds. Its weights are
to be loaded from a bundle: they are not initialised as timm initialises them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoders import ENCODERS
from geoseg.models.families.encoders.encoder import Encoder
from geoseg.models.window_padding import LEAST_PX, Sides
from geoseg.spec import NetworkSpec

ARGUMENTS = {"encoder_depth", "decoder_channels"}
"""Arguments of the architecture that are implemented here."""


def is_known(network: NetworkSpec) -> bool:
    """Whether the network of a spec is implemented here; smp builds all others."""
    depth, channels = network.arguments.get("encoder_depth", 5), network.arguments.get("decoder_channels")
    is_one = network.architecture == "unet" and network.encoder in ENCODERS and ARGUMENTS.issuperset(network.arguments)
    return is_one and isinstance(channels, list) and len(channels) == depth and 1 <= depth <= 5


class UNet(EncoderBody):
    """Encoder, decoder and segmentation head, named as those of segmentation-models-pytorch."""

    def __init__(self, encoder: Encoder, channels: Sequence[int], classes: int):
        head = nn.Sequential(nn.Conv2d(channels[-1], classes, kernel_size=3, padding=1))
        super().__init__(encoder, _Decoder(encoder.out_channels, channels), head, channels[-1])

    @classmethod
    def of(cls, network: NetworkSpec, bands: int, classes: int) -> UNet:
        """Build a network (B, bands, H, W) -> (B, classes, H, W) that is implemented here."""
        channels = network.arguments["decoder_channels"]
        assert isinstance(channels, list)
        return cls(ENCODERS[network.encoder](network.encoder, bands, len(channels)), channels, classes)

    @property
    def sides(self) -> Sides:
        """Any from one stride of the encoder on: each map is resized to the next."""
        return Sides(least=max(2 ** (len(self.stages) - 1), LEAST_PX))


class _Decoder(nn.Module):
    """Upsamples the coarsest features step by step, and concatenates the encoder's features of each resolution."""

    def __init__(self, encoder: Sequence[int], channels: Sequence[int]):
        super().__init__()
        skips = [*encoder[-2:0:-1], 0]
        inputs = [encoder[-1], *channels[:-1]]
        blocks = (_Up(n + skip, out) for n, skip, out in zip(inputs, skips, channels, strict=True))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The input of the segmentation head (B, out, H, W), from an image (B, C, H, W) and its features."""
        image, *skips, values = features
        for block, skip in zip(self.blocks, [*reversed(skips), None], strict=True):
            size = (image if skip is None else skip).shape[-2:]
            values = block(values, size, skip)
        return values


class _Up(nn.Module):
    """A step of the decoder: upsampled, concatenated with the finer features, convolved twice."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.conv1 = _convolution(channels, out)
        self.conv2 = _convolution(out, out)

    def forward(self, values: Tensor, size: Sequence[int], finer: Tensor | None) -> Tensor:
        """(B, C, h, w) -> (B, out, *size), concatenated with features (B, C', *size) if there are any of that size."""
        values = functional.interpolate(values, size=tuple(size), mode="nearest")
        if finer is not None:
            values = torch.cat([values, finer], dim=1)
        convolved: Tensor = self.conv2(self.conv1(values))
        return convolved


def _convolution(channels: int, out: int) -> nn.Sequential:
    """A 3 × 3 convolution, batch normalisation and ReLU."""
    convolution = nn.Conv2d(channels, out, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU(inplace=True))
