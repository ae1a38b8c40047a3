"""A network of dilated convolutions: it sees far at full resolution, with few weights (Yu & Koltun 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.spec import NetworkSpec


class Dilated(Body):
    """Convolutions of 3 × 3 pixels, each twice as wide as the one before."""

    def __init__(self, bands: int, classes: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for channels, dilation in ((bands, 1), (width, 2), (width, 4)):
            layers += [nn.Conv2d(channels, width, 3, padding=dilation, dilation=dilation), nn.ReLU()]
        self.encoder = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, classes, kernel_size=1)

    @property
    def head(self) -> nn.Module:
        """A convolution of 1 × 1 pixels."""
        return self.last

    @property
    def channels(self) -> int:
        """As many as the convolutions have."""
        return self.last.in_channels

    @property
    def stages(self) -> Sequence[int]:
        """There is one, at full resolution."""
        return (self.channels,)

    def encode(self, image: Tensor) -> Features:
        """One map (B, width, H, W)."""
        return Features([self.encoder(image)])

    def decode(self, features: Features) -> Tensor:
        """The same map."""
        return features.maps[0]


class DilatedFamily(Family):
    """The family of this one architecture."""

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build it; `network.arguments` may give its `width`, the channels of each convolution.

        Raises:
            ModelError: if the width is none, or another argument is given.
        """
        arguments = cast(dict[str, object], dict(network.arguments))
        width = arguments.pop("width", 16)
        if arguments or not isinstance(width, int) or not 1 <= width <= 1024:
            raise ModelError("dilated takes the argument width, 1 to 1024: mend network.arguments")
        return Dilated(bands, classes, width)

    def example(self, architecture: str) -> NetworkSpec:
        """A network for windows of any size."""
        return NetworkSpec(architecture=architecture, multiple=1)

    def info(self, architecture: str) -> NetworkInfo:
        """What `geoseg models` says of it."""
        return NetworkInfo(
            title="dilated convolutions",
            year=2016,
            paper='Yu and Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016',
            source="geoseg-example",
            licence="Apache-2.0",
            encoders="none",
        )


FAMILY = DilatedFamily()
