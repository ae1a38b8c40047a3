"""CCNet: attention along the row and the column of each pixel, twice, which reaches every pixel of the window.

Huang, Wang, Wei, Huang, Shi, Liu and Huang, "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019.
"""

from __future__ import annotations

from typing import Annotated

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
from geoseg.models.families.layers import PixelClassifier
from geoseg.models.families.non_local import ContextFusion
from geoseg.models.families.parameters import split_arguments
from geoseg.spec import NetworkSpec


class CrissCross(nn.Module):
    """H'_u = Σ_i A_iu Φ_iu + H_u (equation 2), the sum over the h + w - 1 pixels of the row and the column of u.

    A is the softmax over these pixels of Q_u · K_i (equation 1; figure 3). Q and K have an eighth of the channels. The
    sum is weighted by a learned factor that begins at zero, as in the authors' network. Affinities are h + w per pixel.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, kernel_size=1)
        self.key = nn.Conv2d(channels, inner, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        height = maps.shape[2]
        in_rows = [embed(maps).permute(0, 2, 3, 1) for embed in (self.query, self.key, self.value)]  # (B, h, w, C')
        in_cols = [rows.transpose(1, 2) for rows in in_rows]  # (B, w, h, C')
        across = in_rows[0] @ in_rows[1].transpose(2, 3)  # (B, h, w, w)
        down = in_cols[0] @ in_cols[1].transpose(2, 3)  # (B, w, h, h)
        itself = torch.eye(height, dtype=torch.bool, device=maps.device)  # each pixel counts once: in its row
        down = down.masked_fill(itself, -torch.inf)
        shares = torch.cat([down.transpose(1, 2), across], dim=3).softmax(dim=3)  # (B, h, w, h + w)
        means = shares[..., height:] @ in_rows[2] + (shares[..., :height].transpose(1, 2) @ in_cols[2]).transpose(1, 2)
        answer: Tensor = self.gamma * means.permute(0, 3, 1, 2) + maps
        return answer


class Recurrent(nn.Module):
    """A module applied several times with the same weights: RCCA, figure 2 and section 3.3."""

    def __init__(self, module: nn.Module, times: int):
        super().__init__()
        self.module = module
        self.times = times

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        for _ in range(self.times):
            maps = self.module(maps)
        return maps


class CcnetArguments(HeadArguments):
    """Arguments of CCNet."""

    recurrence: Annotated[int, Field(ge=1, le=8)] = 2
    """How often criss-cross attention is applied: 1 sees row and column, 2 every pixel."""


class Ccnet(HeadFamily):
    """The family of one architecture."""

    Settings = CcnetArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, CcnetArguments)
        encoder = self.encoder(network, bands, None)
        width = own.width(encoder)
        decoder = ContextFusion(last_channels(encoder), width, Recurrent(CrissCross(width), own.recurrence))
        head = PixelClassifier(width, classes, stride_of(encoder), own.dropout)
        return EncoderBody(encoder, decoder, head, width)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper."""
        return NetworkInfo(
            title="CCNet",
            year=2019,
            paper='Huang, Wang, Wei, Huang, Shi, Liu and Huang, "CCNet: Criss-Cross Attention for Semantic '
            'Segmentation", ICCV 2019',
            source="here",
            licence="Apache-2.0",
            encoders=ANY_ENCODER,
            limits=SEES_WHOLE_WINDOWS,
        )


FAMILY = Ccnet()
