"""A single 1 × 1 convolution: each pixel is classified by its own values alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body, Family, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.spec import NetworkSpec


class Pointwise(nn.Conv2d, Body):
    """A body whose encoder and decoder pass values through."""

    def __init__(self, bands: int, classes: int):
        super().__init__(bands, classes, kernel_size=1)
        self.encoder = nn.Identity()

    @property
    def head(self) -> nn.Module:
        """The convolution itself."""
        return self

    @property
    def channels(self) -> int:
        """The bands."""
        return self.in_channels

    @property
    def stages(self) -> Sequence[int]:
        """The bands."""
        return (self.in_channels,)

    def encode(self, image: Tensor) -> Features:
        """The values themselves (B, C, H, W)."""
        return Features([image])

    def decode(self, features: Features) -> Tensor:
        """The values themselves (B, C, H, W)."""
        return features.maps[0]

    def forward(self, image: Tensor) -> Tensor:
        """Classify normalised values (B, C, H, W) as logits (B, K, H, W)."""
        return super().forward(image)


class _Pointwise(Family):
    """The family of one architecture."""

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build the convolution.

        Raises:
            ModelError: if arguments are given: it has none.
        """
        for name in network.arguments:
            raise ModelError(f"pointwise has no argument {name!r}: leave out network.arguments")
        return Pointwise(bands, classes)

    def example(self, architecture: str) -> NetworkSpec:
        """The only one there is."""
        return NetworkSpec(architecture=architecture, multiple=1)

    def info(self, architecture: str) -> NetworkInfo:
        """The paper of the 1 × 1 convolution."""
        return NetworkInfo(
            title="pointwise classifier",
            year=2014,
            paper='Lin, Chen and Yan, "Network In Network", ICLR 2014, on the 1 × 1 convolution',
            source="here",
            licence="Apache-2.0",
            encoders="none",
            limits="It sees one pixel at a time: a baseline, or the network of a context level.",
        )


FAMILY = _Pointwise()
