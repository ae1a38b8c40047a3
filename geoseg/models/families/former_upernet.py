"""The UPerNet of segmentation-models-pytorch 0.4 on any encoder, another network than that of later versions.

Xiao, Liu, Zhou, Jiang and Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, section 3.1, without
what that version leaves out: maps are not normalised, those of the pyramid pass no further convolution, and the map of
half the size is joined too. IGN's models of FLAIR-HUB end in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geoseg.models.families.body import Body
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import convolution, resized
from geoseg.models.families.parameters import split_arguments
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import Channels
from geoseg.spec.base import Spec

POOLED = 1, 2, 3, 6
"""Sides of the pooled maps."""
STRIDE = 4
"""Stride of the decoder's output."""


class FormerUPerNetArguments(Spec):
    """Arguments of the UPerNet of version 0.4."""

    pyramid_channels: Channels = 256
    """Channels of each map of the pyramid."""
    segmentation_channels: Channels = 64
    """Channels of the decoder's output."""


class Pooling(nn.Module):
    """A map, and its means over some grids: (B, channels, h, w) -> (B, out, h, w)."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        inner = channels // len(POOLED)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), convolution(channels, inner, 1)) for side in POOLED
        )
        self.out_conv = convolution(channels + inner * len(POOLED), out, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Join them."""
        pooled = (resized(block(maps), maps.shape[2:]) for block in self.blocks)
        joined: Tensor = self.out_conv(torch.cat([maps, *pooled], dim=1))
        return joined


class Lateral(nn.Module):
    """Adds a map of the encoder to that of the pyramid before it, enlarged; an empty one adds nothing."""

    def __init__(self, channels: int, out: int):
        super().__init__()
        self.skip_conv = convolution(channels, out, 1) if channels else None

    def forward(self, coarser: Tensor, finer: Tensor) -> Tensor:
        """(B, out, h, w) and (B, channels, H, W) -> (B, out, H, W)."""
        enlarged = resized(coarser, finer.shape[2:])
        return enlarged if self.skip_conv is None else enlarged + self.skip_conv(finer)


class Decoder(nn.Module):
    """A pyramid from the coarsest map down to that of half the size, all joined at a quarter of it."""

    def __init__(self, channels: Sequence[int], given: FormerUPerNetArguments):
        """Make the layers.

        Args:
            channels: of the encoder's maps, the image first.
            given: channels of the outputs.
        """
        super().__init__()
        coarsest, *finer = channels[:0:-1]
        width = given.pyramid_channels
        self.psp = Pooling(coarsest, width)
        self.fpn_stages = nn.ModuleList(Lateral(count, width) for count in finer)
        self.fpn_bottleneck = convolution(width * (len(finer) + 1), given.segmentation_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of the encoder, the image (B, C, H, W) first -> (B, L, H/4, W/4)."""
        image, *finer = maps
        coarsest, *finer = finer[::-1]
        pyramid = [self.psp(coarsest)]
        for stage, one in zip(self.fpn_stages, finer, strict=True):
            pyramid.append(stage(pyramid[-1], one))
        size = [side // STRIDE for side in image.shape[2:]]
        joined: Tensor = self.fpn_bottleneck(torch.cat([resized(one, size) for one in pyramid], dim=1))
        return joined


class FormerUPerNet(EncoderFamily):
    """The family of one architecture."""

    Settings = FormerUPerNetArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network.

        Raises:
            ModelError: if the encoder or an argument is unknown.
        """
        from geoseg.models.families.any_encoder import build_encoder

        _, more = split_arguments(network, FormerUPerNetArguments)
        return build_encoder(network, bands, tag, more=more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, one that does not go with the architecture, and an unknown argument.

        Raises:
            ModelError: with the nearest that is known.
        """
        super().check(network)
        split_arguments(network, FormerUPerNetArguments)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        from segmentation_models_pytorch.base import SegmentationHead

        own, _ = split_arguments(network, FormerUPerNetArguments)
        encoder = self.encoder(network, bands, None)
        stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        width = own.segmentation_channels
        head = SegmentationHead(width, classes, kernel_size=1, upsampling=STRIDE)
        return EncoderBody(encoder, Decoder(stages, own), head, width)

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow network on a small ResNet."""
        arguments: Any = {"pyramid_channels": 32, "segmentation_channels": 16}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """The paper, and what it is for."""
        return NetworkInfo(
            title="UPerNet of segmentation-models-pytorch 0.4",
            year=2018,
            paper='Xiao, Liu, Zhou, Jiang and Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018',
            source="here",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME)",
            limits="For models of FLAIR-HUB; to train, upernet is nearer to the paper.",
        )


FAMILY = FormerUPerNet()
