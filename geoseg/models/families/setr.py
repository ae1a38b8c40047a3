"""SETR: a vision transformer as the encoder, and three decoders. In: an image. Out: logits.

Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers", CVPR 2021,
section 3.3: naive upsampling (SETR-Naive), progressive upsampling (SETR-PUP), and multi-level feature aggregation
(SETR-MLA). Written from the paper.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import convolution, resized
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.vit import ENCODERS, WHOLE_WINDOW, VitBody, VitFamily
from geoseg.models.training_batch import PixelLoss
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Channels

if TYPE_CHECKING:
    from geoseg.models.families.vit_encoder import VitEncoder


class SetrArguments(Spec):
    """Arguments of a SETR besides those of its encoder."""

    decoder_channels: Channels = 256
    """Channels of the decoder."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=10)] = 0.4
    """Weight of the losses of the auxiliary heads together, which are used in training alone."""


class Decoder(nn.Module):
    """One of the three decoders: maps of all wanted blocks (B, C, h, w) -> one map at a finer stride."""

    depths: ClassVar[Sequence[float]]
    """The blocks after which maps are taken, as shares of all blocks."""
    auxiliary: ClassVar[slice]
    """Those of the maps that have an auxiliary head (section 4.1)."""
    scale: ClassVar[int]
    """How much finer its output is than the maps."""

    def __init__(self, width: int, channels: int):
        """Take maps of `width` channels, and give one of `channels`."""
        super().__init__()
        self.width, self.channels = width, channels

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, h, w), the deepest last -> (B, channels, scale h, scale w)."""
        ...


class Naive(Decoder):
    """Section 3.3 (1): a 1 × 1 convolution, normalised, before the classifier of the head."""

    depths = 10 / 24, 15 / 24, 20 / 24, 1
    auxiliary = slice(0, 3)
    scale = 1

    def __init__(self, width: int, channels: int):
        super().__init__(width, channels)
        self.layers = convolution(width, channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The last map (B, C, h, w) -> (B, channels, h, w)."""
        passed: Tensor = self.layers(maps[-1])
        return passed


class Progressive(Decoder):
    """Section 3.3 (2) and figure 1 (b): four 3 × 3 convolutions, each followed by upsampling to twice the size.

    The last of the four upsamplings is the head's, after its classifier: 1 × 1 convolution and bilinear interpolation
    may be exchanged, and classes are fewer than channels.
    """

    depths = 10 / 24, 15 / 24, 20 / 24, 1
    auxiliary = slice(0, 4)
    scale = 8

    def __init__(self, width: int, channels: int):
        super().__init__(width, channels)
        self.layers = nn.ModuleList(convolution(count, channels, 3) for count in (width, *(channels,) * 3))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The last map (B, C, h, w) -> (B, channels, 8 h, 8 w)."""
        first, *rest = self.layers
        values: Tensor = first(maps[-1])
        for layer in rest:
            values = layer(_upsampled(values, 2))
        return values


class MultiLevel(Decoder):
    """Section 3.3 (3) and figure 1 (c): a stream for each of four blocks, deeper ones added to shallower ones.

    A stream has three layers of 1 × 1, 3 × 3 and 3 × 3 kernels; deeper streams are added after the first, and another
    3 × 3 convolution follows the sum. All are upsampled fourfold and joined.
    """

    depths = 6 / 24, 12 / 24, 18 / 24, 1
    auxiliary = slice(0, 4)
    scale = 4

    def __init__(self, width: int, channels: int):
        half, streams = max(1, channels // 2), len(self.depths)
        super().__init__(width, streams * half)
        self.firsts = nn.ModuleList(convolution(width, channels, 1) for _ in range(streams))
        self.sums = nn.ModuleList(convolution(channels, channels, 3) for _ in range(streams))
        self.streams = nn.ModuleList(
            nn.Sequential(convolution(channels, half, 3), convolution(half, half, 3)) for _ in range(streams)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Four maps (B, C, h, w) -> (B, channels, 4 h, 4 w)."""
        values = [first(part) for first, part in zip(self.firsts, maps, strict=True)]
        for shallower in reversed(range(len(values) - 1)):
            values[shallower] = values[shallower] + values[shallower + 1]
        passed = [stream(after(part)) for stream, after, part in zip(self.streams, self.sums, values, strict=True)]
        return torch.cat([_upsampled(part, self.scale) for part in passed], dim=1)


DECODERS: dict[str, type[Decoder]] = {"setr_naive": Naive, "setr_pup": Progressive, "setr_mla": MultiLevel}
"""Decoders by architecture."""


class Setr(VitBody):
    """A vision transformer and one of the decoders."""

    def __init__(self, encoder: VitEncoder, decoder: Decoder, classes: int, auxiliary_weight: float):
        """Join the parts; the decoder takes the encoder's maps."""
        super().__init__(encoder)
        self.decoder = decoder
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(decoder.channels, classes, kernel_size=1), _upsampling(self.patch / decoder.scale)
        )
        inner = max(1, self.width // 4)
        self.auxiliary_heads = nn.ModuleList(
            nn.Sequential(convolution(self.width, inner, 1), nn.Conv2d(inner, classes, kernel_size=1))
            for _ in decoder.depths[decoder.auxiliary]
        )
        self._auxiliary_weight = auxiliary_weight

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, h, w) into logits (B, K, H, W)."""
        return self.segmentation_head

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        return self.decoder.channels

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The encoder."""
        return (self.encoder,)

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """Mean loss of the auxiliary heads on maps of several blocks (section 4.1)."""
        maps = outputs[0][1:][self.decoder.auxiliary]
        answers = (head(part) for head, part in zip(self.auxiliary_heads, maps, strict=True))
        losses = [criterion(resized(answer, labels.shape[-2:]), labels) for answer in answers]
        return self._auxiliary_weight * torch.stack(losses).mean()

    def decode(self, features: Features) -> Tensor:
        """The input of the head."""
        decoded: Tensor = self.decoder(features.maps[1:])
        return decoded


def _upsampling(factor: float) -> nn.Module:
    return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)


def _upsampled(values: Tensor, factor: int) -> Tensor:
    """(B, C, h, w) -> (B, C, factor h, factor w)."""
    return functional.interpolate(values, scale_factor=float(factor), mode="bilinear", align_corners=False)


class Setrs(VitFamily):
    """SETR-Naive, SETR-PUP and SETR-MLA."""

    Settings = SetrArguments
    small: ClassVar[dict[str, Any]] = {"decoder_channels": 16}

    def depths(self, network: NetworkSpec) -> Sequence[float]:
        """Those of the decoder: section 4.1's of 24 blocks, in proportion."""
        return DECODERS[network.architecture.lower()].depths

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder is no vision transformer of timm, or an argument is unknown.
        """
        given, _ = split_arguments(network, SetrArguments)
        encoder = self.encoder(network, bands, None)
        decoder = DECODERS[network.architecture.lower()](encoder.out_channels[-1], given.decoder_channels)
        return Setr(encoder, decoder, classes, given.auxiliary_weight)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title={"setr_naive": "SETR-Naive", "setr_pup": "SETR-PUP", "setr_mla": "SETR-MLA"}[architecture],
            year=2021,
            paper='Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with '
            'Transformers", CVPR 2021',
            source="here",
            licence="Apache-2.0",
            encoders=f"{ENCODERS}; tu-vit_large_patch16_384 in the paper",
            limits=WHOLE_WINDOW,
        )


FAMILY = Setrs()
