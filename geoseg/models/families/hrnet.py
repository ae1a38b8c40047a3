"""HRNetV2's head: all maps from a quarter of the image on, at the finest one's size, mixed by a 1 × 1 convolution.

Sun, Zhao, Jiang, Cheng, Xiao, Liu, Mu, Wang, Liu and Wang, "High-Resolution Representations for Labeling Pixels and
Regions", arXiv 1904.04514, 2019, section 3. The encoder may be timm's HRNet, whose maps are then the four branches of
its last stage, or any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import PixelClassifier, convolution
from geoseg.models.families.parameters import split_arguments
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import Channels, Fraction
from geoseg.spec.base import Spec

HRNET = "tu-hrnet"
"""Beginning of smp's names of timm's HRNets."""
FIRST = 2
"""Index of the finest map that is taken: the one of stride 4."""
STRIDE = 4
BRANCHES = {"feature_location": ""}
"""Argument of timm's HRNets that makes them give their four branches, not the maps of a classifier behind these."""


def branches(network: NetworkSpec) -> dict[str, str]:
    """Further arguments of the encoder of a network, if it is an HRNet."""
    return BRANCHES if network.encoder.startswith(HRNET) else {}


class Representation(nn.Module):
    """All maps of stride 4 and more, upsampled bilinearly to stride 4 and concatenated: HRNetV2's, before it is mixed.

    For an HRNet whose branches have C, 2C, 4C and 8C channels it has 15C.
    """

    def __init__(self, stages: Sequence[int]):
        """Take the channels of the encoder's maps."""
        super().__init__()
        self.channels = sum(stages[FIRST:])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps -> (B, channels, H / 4, W / 4)."""
        finest, *coarser = maps[FIRST:]
        size = finest.shape[-2:]
        return torch.cat([finest, *(functional.interpolate(one, size=size, mode="bilinear") for one in coarser)], dim=1)


class HrnetArguments(Spec):
    """Arguments of HRNetV2's head."""

    channels: Channels | None = None
    """Channels of the mixed representation; by default those of all maps together, 15C for an HRNet."""
    dropout: Fraction = 0.0
    """Share of the channels that is dropped before pixels are classified, in training."""


class Hrnet(EncoderFamily):
    """The family of one architecture."""

    Settings = HrnetArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network; of an HRNet, its branches.

        Raises:
            ModelError: if the encoder or an argument is unknown.
        """
        from geoseg.models.families.any_encoder import build_encoder

        _, more = split_arguments(network, HrnetArguments)
        return build_encoder(network, bands, tag, more=branches(network) | more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, one that does not go with the architecture, and an unknown argument.

        Raises:
            ModelError: with the nearest that is known.
        """
        super().check(network)
        split_arguments(network, HrnetArguments)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, HrnetArguments)
        encoder = self.encoder(network, bands, None)
        together = Representation(encoder.out_channels)  # type: ignore[arg-type]  # a list
        width = own.channels or together.channels
        decoder = nn.Sequential(together, convolution(together.channels, width, side=1))
        return EncoderBody(encoder, decoder, PixelClassifier(width, classes, STRIDE, own.dropout), width)

    def usual(self, architecture: str) -> NetworkSpec:
        """On the smallest HRNet of the paper."""
        return NetworkSpec(architecture=architecture, encoder="tu-hrnet_w18")

    def example(self, architecture: str) -> NetworkSpec:
        """The head on a small ResNet."""
        arguments: Any = {"channels": 16}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, and the encoders that it is meant for."""
        return NetworkInfo(
            title="HRNetV2",
            year=2019,
            paper='Sun, Zhao, Jiang, Cheng, Xiao, Liu, Mu, Wang, Liu and Wang, "High-Resolution Representations for '
            'Labeling Pixels and Regions", arXiv 1904.04514, 2019',
            source="here",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME); the paper's are tu-hrnet_w18 to tu-hrnet_w64",
        )


FAMILY = Hrnet()
