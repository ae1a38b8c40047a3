"""DANet: attention between all pixels, and between all channels, in two branches.

Fu, Liu, Tian, Li, Bao, Fang and Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from geoseg.models.families.body import Body
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_heads import (
    ANY_ENCODER,
    SEES_WHOLE_WINDOWS,
    HeadArguments,
    HeadFamily,
    last_channels,
    stride_of,
)
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import PixelClassifier, convolution, maps_of, rows_of
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.pixel_attention import attend
from geoseg.models.training_batch import PixelLoss
from geoseg.spec import NetworkSpec


class PositionAttention(nn.Module):
    """E_j = α Σ_i s_ji D_i + A_j (equation 2), s_ji the softmax over all pixels i of B_i · C_j (equation 1).

    B and C have an eighth of the channels; α begins at zero (figure 3a).
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        means = attend(*(rows_of(embed(maps)) for embed in (self.query, self.key, self.value)))
        return self.alpha * maps_of(means, maps) + maps


class ChannelAttention(nn.Module):
    """E_j = β Σ_i x_ji A_i + A_j (equation 4), x_ji the softmax over all channels i of A_i · A_j (equation 3).

    It has no weights but β, which begins at zero (figure 3b). The products of channels are sums over all pixels, too
    large for 16 bits: they are computed in 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        with torch.autocast(maps.device.type, enabled=False):
            channels = maps.flatten(2).float()
            alike = (channels @ channels.transpose(1, 2)).softmax(dim=2)
            means = (alike @ channels).reshape(maps.shape)
        return (self.beta * means).to(maps.dtype) + maps


class DualAttention(nn.Module):
    """The sum of both branches, each a convolution that reduces, an attention and a convolution: figure 2."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        attentions = PositionAttention(width), ChannelAttention()
        branches = (nn.Sequential(convolution(channels, width), a, convolution(width, width)) for a in attentions)
        self.branches = nn.ModuleList(branches)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The last of the maps (B, C, h, w) -> (B, width, h, w)."""
        position, channel = (branch(maps[-1]) for branch in self.branches)
        fused: Tensor = position + channel
        return fused


class DanetBody(EncoderBody):
    """A network whose two branches also classify pixels by themselves, in training (section 4.1.2, multi-loss)."""

    def __init__(self, encoder: nn.Module, width: int, classes: int, own: DanetArguments):
        stride = stride_of(encoder)
        decoder = DualAttention(last_channels(encoder), width)
        super().__init__(encoder, decoder, PixelClassifier(width, classes, stride, own.dropout), width)
        self._weight = own.branch_loss
        heads = (PixelClassifier(width, classes, stride, own.dropout) for _ in decoder.branches)
        self.branch_heads = nn.ModuleList(heads)

    @property
    def auxiliary_parts(self) -> Sequence[nn.Module]:
        """The branches, if their losses count."""
        return tuple(self.decoder.get_submodule("branches").children()) if self._weight else ()

    def auxiliary_loss(self, outputs: Sequence[Any], logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor:
        """The weighted sum of the losses of both branches' own logits."""
        pairs = zip(self.branch_heads, outputs, strict=True)
        return self._weight * torch.stack([criterion(head(output), labels) for head, output in pairs]).sum()


class DanetArguments(HeadArguments):
    """Arguments of DANet."""

    branch_loss: Annotated[float, Field(ge=0, le=10)] = 1.0
    """Weight of the losses of each branch's own logits; 0 leaves them out."""


class Danet(HeadFamily):
    """The family of one architecture."""

    Settings = DanetArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, DanetArguments)
        encoder = self.encoder(network, bands, None)
        return DanetBody(encoder, own.width(encoder), classes, own)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, and what its attention costs."""
        return NetworkInfo(
            title="DANet",
            year=2019,
            paper='Fu, Liu, Tian, Li, Bao, Fang and Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019',
            source="here",
            licence="Apache-2.0",
            encoders=ANY_ENCODER,
            limits=f"{SEES_WHOLE_WINDOWS} Time grows with the square of a window's pixels, memory does not.",
        )


FAMILY = Danet()
