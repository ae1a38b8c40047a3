"""TorchGeo's FCN: five convolutions of 3 × 3 pixels at full size, and one of pixels.

Layers as TorchGeo describes them (torchgeo.models.FCN: five layers, leaky ReLUs, padding that keeps the size).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import parse_arguments
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Channels

LAYERS = 5


class TorchGeoFcnArguments(Spec):
    """Arguments of TorchGeo's FCN."""

    filters: Channels = 64
    """Channels of each convolution; TorchGeo's trainer takes 3 by default (`num_filters`)."""


class TorchGeoFcn(Body):
    """The network; its encoder computes all but the logits."""

    def __init__(self, bands: int, classes: int, filters: int):
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (bands, *[filters] * (LAYERS - 1)):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.LeakyReLU(inplace=True)]
        self.encoder = nn.Sequential(*layers)
        self.last = nn.Conv2d(filters, classes, kernel_size=1)

    @property
    def head(self) -> nn.Module:
        """A convolution of pixels."""
        return self.last

    @property
    def channels(self) -> int:
        """Channels of each convolution."""
        return self.last.in_channels

    @property
    def stages(self) -> Sequence[int]:
        """Of the only map."""
        return (self.last.in_channels,)

    def encode(self, image: Tensor) -> Features:
        """The map of normalised values (B, C, H, W)."""
        return Features([self.encoder(image)])

    def decode(self, features: Features) -> Tensor:
        """The map as it is (B, L, H, W)."""
        return features.maps[0]


class TorchGeoFcns(Family):
    """The family of one architecture."""

    Settings = TorchGeoFcnArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if an argument is unknown or out of bounds.
        """
        return TorchGeoFcn(bands, classes, parse_arguments(network, TorchGeoFcnArguments).filters)

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow one."""
        arguments: Any = {"filters": 8}
        return NetworkSpec(architecture=architecture, arguments=arguments, multiple=1)

    def info(self, architecture: str) -> NetworkInfo:
        """What it is for."""
        return NetworkInfo(
            title="FCN of TorchGeo",
            year=2022,
            paper='Stewart et al., "TorchGeo: Deep Learning With Geospatial Data", SIGSPATIAL 2022',
            source="here",
            licence="Apache-2.0",
            encoders="none",
            limits="It sees 11 × 11 pixels, and computes at full size.",
        )


FAMILY = TorchGeoFcns()
