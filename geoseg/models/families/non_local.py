"""Non-local neural networks: each pixel receives a weighted mean of all pixels of the window.

Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018. The paper puts its block between the layers of
networks that classify videos. As a head for segmentation it stands where Huang et al. (CCNet, ICCV 2019, figure 2 and
section 4) put it to compare with: behind a reducing convolution, its output fused with the encoder's last map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
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
from geoseg.spec import NetworkSpec

Pairwise = Literal["embedded_gaussian", "gaussian", "dot_product"]


class NonLocalBlock(nn.Module):
    """z = W_z y + x (equation 6) with y_i the mean of g(x_j) over all pixels j, weighted by f(x_i, x_j) (equation 1).

    f is exp(θ(x_i) · φ(x_j)) (embedded Gaussian, equation 3), exp(x_i · x_j) (Gaussian, equation 2), both divided by
    their sum over j, or θ(x_i) · φ(x_j) divided by the number of pixels (dot product, equation 4). θ, φ and g halve the
    channels. W_z is followed by a batch normalisation that begins at zero: the block begins as the identity (section
    4.1).
    """

    def __init__(self, channels: int, pairwise: Pairwise = "embedded_gaussian"):
        super().__init__()
        inner = max(1, channels // 2)
        embeds = pairwise != "gaussian"
        self.theta = nn.Conv2d(channels, inner, kernel_size=1) if embeds else nn.Identity()
        self.phi = nn.Conv2d(channels, inner, kernel_size=1) if embeds else nn.Identity()
        self.g = nn.Conv2d(channels, inner, kernel_size=1)
        self.out = nn.Sequential(nn.Conv2d(inner, channels, kernel_size=1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]  # it has one
        self._is_linear = pairwise == "dot_product"

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        queries, keys, values = (rows_of(embed(maps)) for embed in (self.theta, self.phi, self.g))
        if self._is_linear:  # (θ φᵀ) g = θ (φᵀ g): without affinities of pairs of pixels
            means = queries @ (keys.transpose(1, 2) @ (values / keys.shape[1]))
        else:
            means = attend(queries, keys, values)
        answer: Tensor = maps + self.out(maps_of(means, maps))
        return answer


class ContextFusion(nn.Module):
    """The last map X of an encoder, reduced, given context by a module, and fused with X: CCNet's figure 2."""

    def __init__(self, channels: int, width: int, context: nn.Module):
        super().__init__()
        self.reduce = convolution(channels, width)
        self.context = context
        self.refine = convolution(width, width)
        self.fuse = convolution(channels + width, width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The last of the maps (B, C, h, w) -> (B, width, h, w)."""
        seen = self.refine(self.context(self.reduce(maps[-1])))
        fused: Tensor = self.fuse(torch.cat([maps[-1], seen], dim=1))
        return fused


class NonLocalArguments(HeadArguments):
    """Arguments of a non-local head."""

    pairwise: Pairwise = "embedded_gaussian"
    """How alike two pixels are: embedded_gaussian, gaussian or dot_product, whose cost is linear in the pixels."""


class NonLocal(HeadFamily):
    """The family of one architecture."""

    Settings = NonLocalArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        own, _ = split_arguments(network, NonLocalArguments)
        encoder = self.encoder(network, bands, None)
        width = own.width(encoder)
        decoder = ContextFusion(last_channels(encoder), width, NonLocalBlock(width, own.pairwise))
        head = PixelClassifier(width, classes, stride_of(encoder), own.dropout)
        return EncoderBody(encoder, decoder, head, width)

    def info(self, architecture: str) -> NetworkInfo:
        """Its paper, and what its attention costs."""
        return NetworkInfo(
            title="Non-local network",
            year=2018,
            paper='Wang, Girshick, Gupta and He, "Non-local Neural Networks", CVPR 2018',
            source="here",
            licence="Apache-2.0",
            encoders=ANY_ENCODER,
            limits=f"{SEES_WHOLE_WINDOWS} Time grows with the square of a window's pixels, memory does not.",
        )


FAMILY = NonLocal()
