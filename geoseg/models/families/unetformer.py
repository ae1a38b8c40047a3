"""UNetFormer: a convolutional encoder, and a decoder of global-local transformer blocks. In: an image. Out: logits.

Wang, Li, Zhang, Duan, Meng, Atkinson and Fang, "UNetFormer: A UNet-like transformer for efficient semantic segmentation
of remote sensing urban scene imagery", ISPRS Journal of Photogrammetry and Remote Sensing 190 (2022), 196-214. Written
from the paper, whose names of parts are given in quotation marks below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import resized
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.window_attention import RelativeBiasAttention
from geoseg.models.training_batch import PixelLoss
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Channels, Few, Fraction

STAGES = 4
"""Stages of the encoder whose maps the decoder takes, at strides 4, 8, 16 and 32."""


class UNetFormerArguments(Spec):
    """Arguments of a UNetFormer besides those of its encoder."""

    decoder_channels: Channels = 64
    """Channels of the decoder, a multiple of its heads."""
    decoder_heads: Few = 8
    """Heads of each attention."""
    window: Few = 8
    """Side of the windows of attention, in pixels of a map."""
    dropout: Fraction = 0.1
    """Share of the decoder's output that is dropped in training."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=10)] = 0.4
    """Weight of the loss of the auxiliary head, which is used in training alone."""

    @model_validator(mode="after")
    def _check_heads(self) -> UNetFormerArguments:
        """Refuse channels that heads cannot share."""
        if self.decoder_channels % self.decoder_heads:
            raise ValueError("decoder_channels must be a multiple of decoder_heads")
        return self


class UNetFormer(EncoderBody):
    """An encoder, three global-local transformer blocks, and the feature refinement head."""

    def __init__(self, encoder: nn.Module, classes: int, given: UNetFormerArguments):
        """Join a decoder to an encoder of smp."""
        width = given.decoder_channels
        stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        head = nn.Sequential(
            _convolution(width, width, 3),
            nn.Dropout2d(given.dropout),
            nn.Conv2d(width, classes, kernel_size=1),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
        )
        super().__init__(encoder, _Decoder(stages[-STAGES:], given), head, width)
        self.auxiliary_head = nn.Sequential(
            _convolution(width, width, 3), nn.Dropout2d(given.dropout), nn.Conv2d(width, classes, kernel_size=1)
        )
        self._auxiliary_weight = given.auxiliary_weight

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The transformer blocks."""
        return tuple(self.decoder.get_submodule("blocks").children())

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """The loss of the "auxiliary head": of logits from the sum of the maps of all blocks, resized to the finest."""
        size = outputs[-1].shape[-2:]
        together = sum((resized(values, size) for values in outputs[:-1]), start=outputs[-1])
        auxiliary = resized(self.auxiliary_head(together), labels.shape[-2:])
        return self._auxiliary_weight * criterion(auxiliary, labels)

    def decode(self, features: Features) -> Tensor:
        """The refined map (B, L, H / 4, W / 4)."""
        decoded: Tensor = self.decoder(features.maps[-STAGES:])
        return decoded


class _Decoder(nn.Module):
    """From the coarsest map to the finest: at each stride but the finest a block, before it a weighted sum."""

    def __init__(self, channels: Sequence[int], given: UNetFormerArguments):
        super().__init__()
        width = given.decoder_channels
        self.project = nn.ModuleList(_convolution(count, width, 1, is_active=False) for count in channels)
        self.blocks = nn.ModuleList(GlobalLocalBlock(width, given.decoder_heads, given.window) for _ in channels[1:])
        self.sums = nn.ModuleList(WeightedSum() for _ in channels[1:])
        self.refine = RefinementHead(width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The refined map, of the size of the finest, from the maps of the encoder with the finest first."""
        *finer, values = (project(part) for project, part in zip(self.project, maps, strict=True))
        for block, weighted, skip in zip(self.blocks, self.sums, reversed(finer), strict=True):
            values = weighted(skip, resized(block(values), skip.shape[-2:]))
        refined: Tensor = self.refine(values)
        return refined


class WeightedSum(nn.Module):
    """The "weighted sum": alpha r + (1 - alpha) g of the encoder's map r and the decoder's g, alpha being learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.tensor(0.5))

    def forward(self, residual: Tensor, decoded: Tensor) -> Tensor:
        """(B, C, h, w), (B, C, h, w) -> (B, C, h, w)."""
        return self.alpha * residual + (1 - self.alpha) * decoded


class GlobalLocalBlock(nn.Module):
    """The "global-local Transformer block": attention and a perceptron, each added to its input."""

    def __init__(self, channels: int, heads: int, window: int, ratio: int = 4):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attention = GlobalLocalAttention(channels, heads, window)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = nn.Sequential(
            nn.Conv2d(channels, ratio * channels, kernel_size=1),
            nn.GELU(),
            nn.Conv2d(ratio * channels, channels, kernel_size=1),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        values = values + self.attention(self.norm1(values))
        passed: Tensor = values + self.mlp(self.norm2(values))
        return passed


class GlobalLocalAttention(nn.Module):
    """The "efficient global-local attention".

    The local branch is the sum of a 3 × 3 and a 1 × 1 convolution. The global branch is attention within windows, whose
    borders are then crossed by means over a column and over a row of pixels, each as long as a window. A depthwise and
    a 1 × 1 convolution follow the sum of both.
    """

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.local3 = _convolution(channels, channels, 3, is_active=False)
        self.local1 = _convolution(channels, channels, 1, is_active=False)
        self.windows = RelativeBiasAttention(channels, heads, window)
        self.window = window
        self.project = nn.Sequential(
            nn.Conv2d(channels, channels, window, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        local = self.local3(values) + self.local1(values)
        crossing = cross_shaped(self.windows(values), self.window)
        before, after = _margins(self.window)
        padded = functional.pad(local + crossing, (before, after, before, after), mode="replicate")
        projected: Tensor = self.project(padded)
        return projected


def cross_shaped(values: Tensor, window: int) -> Tensor:
    """The "cross-shaped window context interaction": means over columns, plus means over rows, of `window` pixels.

    Of each pixel of a map (B, C, h, w), which is replicated beyond its edges.
    """
    before, after = _margins(window)
    down = functional.avg_pool2d(functional.pad(values, (0, 0, before, after), mode="replicate"), (window, 1), stride=1)
    across = functional.avg_pool2d(
        functional.pad(values, (before, after, 0, 0), mode="replicate"), (1, window), stride=1
    )
    return down + across


class RefinementHead(nn.Module):
    """The "feature refinement head": a channel path and a spatial path, their sum, and a residual connection."""

    def __init__(self, channels: int, reduction: int = 4):
        super().__init__()
        fewer = max(1, channels // reduction)
        self.fuse = _convolution(channels, channels, 3)
        self.channel_path = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, fewer, kernel_size=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(fewer, channels, kernel_size=1),
            nn.Sigmoid(),
        )
        self.spatial_path = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels), nn.Sigmoid()
        )
        self.shortcut = _convolution(channels, channels, 1, is_active=False)
        self.project = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        values = self.fuse(values)
        attended = self.channel_path(values) * values + self.spatial_path(values) * values
        return functional.relu(self.project(attended) + self.shortcut(values))


def _convolution(channels: int, out: int, side: int, *, is_active: bool = True) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation, and ReLU if it is active."""
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, side, padding=side // 2, bias=False),
        nn.BatchNorm2d(out),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if is_active else []))


def _margins(window: int) -> tuple[int, int]:
    """Pixels before and after one for a row of `window` pixels around it."""
    return (window - 1) // 2, window // 2


class UNetFormers(EncoderFamily):
    """The family of this one architecture."""

    Settings = UNetFormerArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        given, _ = split_arguments(network, UNetFormerArguments)
        return UNetFormer(self.encoder(network, bands, None), classes, given)

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder alone.

        Raises:
            ModelError: as `build` does.
        """
        from geoseg.models.families import any_encoder  # imports smp and timm

        return any_encoder.build_encoder(network, bands, tag, more=split_arguments(network, UNetFormerArguments)[1])

    def example(self, architecture: str) -> NetworkSpec:
        """A network with a small encoder and a narrow decoder."""
        arguments: Any = {"decoder_channels": 16, "decoder_heads": 2, "window": 4}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title="UNetFormer",
            year=2022,
            paper='Wang, Li, Zhang, Duan, Meng, Atkinson and Fang, "UNetFormer: A UNet-like transformer for efficient '
            'semantic segmentation of remote sensing urban scene imagery", ISPRS Journal of Photogrammetry and Remote '
            "Sensing 190, 2022",
            source="here",
            licence="Apache-2.0",
            encoders="any of smp or timm (tu-NAME) with maps at strides 4 to 32; resnet18 in the paper",
            limits="Its refinement head takes a mean over the whole window, and attention is confined to squares of a "
            "map of 8 × 8 pixels, up to 256 pixels of the image: logits depend a little on where a window lies.",
        )


FAMILY = UNetFormers()
