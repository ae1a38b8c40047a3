"""Dynamic World's forward network: separable convolutions with residuals, at full and at half the size.

Brown et al., "Dynamic World, Near real-time global 10 m land use land cover mapping", Scientific Data 9:251, 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import resized
from geoseg.models.families.parameters import split_arguments
from geoseg.models.window_padding import Sides
from geoseg.spec import NetworkSpec, Spec

STEM, MIDDLE, WIDE, SIDE = 64, 96, 144, 48
"""Channels of its parts."""
EPSILON = 1e-3
"""Of batch normalisation."""
LEAST = -199.0
"""Least value of which the logarithm of 0.005 x + 1 is taken."""
CENTRE, SPREAD = 1.9, 2.4
"""Of the logarithms of reflectances x 10,000, about those of all bands of Sentinel-2; weights bring their own."""


class Squash(nn.Module):
    """sigmoid(5 (ln(0.005 x + 1) - centre) / spread - 1) per band, of reflectances x 10,000: (B, C, H, W) to 0..1."""

    centre: Tensor
    spread: Tensor

    def __init__(self, bands: int):
        super().__init__()
        self.register_buffer("centre", torch.full((bands,), CENTRE))
        self.register_buffer("spread", torch.full((bands,), SPREAD))

    def forward(self, image: Tensor) -> Tensor:
        """Squash values (B, C, H, W)."""
        logarithms = torch.log1p(0.005 * image.clamp(min=LEAST))
        centre, spread = (values.view(-1, 1, 1) for values in (self.centre, self.spread))
        return torch.sigmoid(5 * (logarithms - centre) / spread - 1)


class Convolution(nn.Sequential):
    """A convolution, batch normalisation and Mish: (B, channels, h, w) -> (B, out, h, w)."""

    def __init__(self, channels: int, out: int, side: int, groups: int = 1):
        layer = nn.Conv2d(channels, out, side, padding=side // 2, groups=groups)
        super().__init__(layer, nn.BatchNorm2d(out, eps=EPSILON), nn.Mish())


class Separable(nn.Sequential):
    """A convolution of pixels, then one of each channel's 3 × 3 pixels."""

    def __init__(self, channels: int, out: int):
        super().__init__(Convolution(channels, out, 1), Convolution(out, out, 3, groups=out))


class Residual(nn.Module):
    """Three separable convolutions, and one of pixels past them."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.main = nn.Sequential(Separable(channels, out), Separable(out, out), Separable(out, out))
        self.skip = Convolution(channels, out, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) -> (B, out, h, w)."""
        added: Tensor = self.main(maps) + self.skip(maps)
        return added


class Encoder(nn.Module):
    """A stem at full size, and two ways at half the size."""

    def __init__(self, bands: int, *, logarithm: bool):
        super().__init__()
        self.squash = Squash(bands) if logarithm else nn.Identity()
        self.stem = Convolution(bands, STEM, 3)
        self.block1 = Residual(STEM, MIDDLE)
        self.block2 = Residual(MIDDLE, WIDE)
        self.side = Separable(STEM, SIDE)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, 64, H, W), (B, 48, H/2, W/2) and (B, 144, H/2, W/2) of an image (B, C, H, W)."""
        stem = self.stem(self.squash(image))
        size = [side // 2 for side in stem.shape[2:]]
        half = _halved(stem, size)
        return [stem, self.side(half), self.block2(self.block1(half))]


def _halved(maps: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, h, w) -> (B, C, *size), bilinear with antialiasing, in 32 bits: PyTorch has none of 16 on CPUs."""
    halved = functional.interpolate(
        maps.float(), size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )
    return halved.to(maps.dtype)


class Decoder(nn.Module):
    """Joins both ways, at full size again, each pixel's features of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.block3 = Residual(WIDE + SIDE, WIDE)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The maps of the encoder -> (B, 144, H, W)."""
        stem, side, deep = maps
        joined = resized(self.block3(torch.cat([deep, side], dim=1)), stem.shape[2:])
        squares = joined.square().sum(dim=1, keepdim=True)
        return joined * torch.rsqrt(squares.clamp(min=1e-6))


class DynamicWorldBody(Body):
    """The network; its parts have the names of the file of weights that geoseg imports."""

    def __init__(self, bands: int, classes: int, *, logarithm: bool):
        super().__init__()
        self.encoder = Encoder(bands, logarithm=logarithm)
        self.decoder = Decoder()
        self.classifier = nn.Conv2d(WIDE, classes, kernel_size=1)

    @property
    def head(self) -> nn.Module:
        """A convolution of pixels."""
        return self.classifier

    @property
    def channels(self) -> int:
        """144."""
        return WIDE

    @property
    def stages(self) -> Sequence[int]:
        """Of the stem, and of both ways."""
        return STEM, SIDE, WIDE

    @property
    def sides(self) -> Sides:
        """Multiples of two pixels."""
        return Sides(2)

    def encode(self, image: Tensor) -> Features:
        """Features of values (B, C, H, W)."""
        return Features(self.encoder(image))

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, 144, H, W)."""
        decoded: Tensor = self.decoder(features.maps)
        return decoded


class DynamicWorldArguments(Spec):
    """Arguments of Dynamic World's network."""

    logarithm: bool = False
    """Whether it takes reflectances x 10,000 as they are, and squashes their logarithms, as its published weights do;
    else it takes normalised values, as other networks."""


class DynamicWorld(Family):
    """The family of one architecture."""

    Settings = DynamicWorldArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if an argument is unknown.
        """
        own, _ = split_arguments(network, DynamicWorldArguments)
        return DynamicWorldBody(bands, classes, logarithm=own.logarithm)

    def example(self, architecture: str) -> NetworkSpec:
        """The only size there is."""
        return NetworkSpec(architecture=architecture, multiple=2)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper."""
        return NetworkInfo(
            title="Dynamic World",
            year=2022,
            paper='Brown et al., "Dynamic World, Near real-time global 10 m land use land cover mapping", '
            "Scientific Data 9:251",
            source="here",
            licence="Apache-2.0",
            encoders="none",
            limits="It sees little around a pixel, and computes at full size: made for pixels of 10 m.",
        )


FAMILY = DynamicWorld()
