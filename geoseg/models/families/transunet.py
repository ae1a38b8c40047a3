"""TransUNet: a vision transformer on a residual network's last map, and a U-Net's decoder. In: an image. Out: logits.

Chen et al., "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation", arXiv 2102.04306 (2021),
section 3. Written from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.core.errors import ModelError
from geoseg.models.families.body import Body, Features
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.layers import convolution
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.timm_names import TIMM
from geoseg.models.families.vit import WHOLE_WINDOW, timm_arguments
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Channels

if TYPE_CHECKING:
    from geoseg.models.families.vit_encoder import HybridEncoder

HYBRID = "tu-vit_base_r50_s16_"
"""How the names of the encoders begin."""
ENCODERS = f"{HYBRID}224 or {HYBRID}384"


class TransUNetArguments(Spec):
    """Arguments of a TransUNet besides those of its encoder."""

    decoder_channels: Annotated[list[Channels], Field(min_length=5, max_length=5)] = Field(
        default=[512, 256, 128, 64, 16]
    )
    """Channels of the decoder at strides 16, 8, 4, 2 and 1: figure 1."""


class TransUNet(EncoderBody):
    """Figure 1: the hybrid encoder, and the cascaded upsampler with skips from the residual network."""

    def __init__(self, encoder: HybridEncoder, classes: int, channels: Sequence[int]):
        """Join a decoder of these channels at strides 16, 8, 4, 2 and 1 to an encoder."""
        decoder = CascadedUpsampler(encoder.out_channels, channels)
        super().__init__(encoder, decoder, nn.Conv2d(channels[-1], classes, kernel_size=3, padding=1), channels[-1])

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, H, W)."""
        decoded: Tensor = self.decoder(features.maps[1:])
        return decoded


class CascadedUpsampler(nn.Module):
    """Section 3.2: from the tokens at stride 16 to full resolution in four steps of upsampling and convolution."""

    def __init__(self, stages: Sequence[int], channels: Sequence[int]):
        super().__init__()
        skips = [*reversed(stages[1:-1]), 0]
        self.enter = convolution(stages[-1], channels[0])
        self.steps = nn.ModuleList(
            nn.Sequential(convolution(count + skip, out), convolution(out, out))
            for (count, out), skip in zip(pairwise(channels), skips, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps at strides 2, 4, 8 and 16 -> a map at full resolution (B, channels, H, W)."""
        *skips, tokens = maps
        values: Tensor = self.enter(tokens)
        for step, skip in zip(self.steps, [*reversed(skips), None], strict=True):
            values = functional.interpolate(values, scale_factor=2.0, mode="bilinear", align_corners=False)
            values = step(values if skip is None else torch.cat([values, skip], dim=1))
        return values


class TransUNets(EncoderFamily):
    """The family of this one architecture."""

    Settings = TransUNetArguments

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder or an argument is unknown, or they don't fit together.
        """
        given, _ = split_arguments(network, TransUNetArguments)
        return TransUNet(self.encoder(network, bands, None), classes, given.decoder_channels)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, and one that is no residual network with a transformer behind it.

        Raises:
            ModelError: with the encoders that it takes.
        """
        super().check(network)
        if not network.encoder.startswith(HYBRID):
            raise ModelError(f"transunet does not go with {network.encoder}: take encoder {ENCODERS}")

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> HybridEncoder:
        """Build the encoder alone.

        Raises:
            ModelError: as `build` does.
        """
        from geoseg.models.families import any_encoder, vit_encoder  # import smp and timm

        _, of_timm = split_arguments(network, TransUNetArguments)
        self.check(network)
        name, arguments = network.encoder.removeprefix(TIMM), timm_arguments(network.encoder, of_timm)
        try:
            return vit_encoder.HybridEncoder(name, bands, is_pretrained=tag is not None, arguments=arguments)
        except Exception as error:  # timm raises whatever its arguments lead to
            raise any_encoder.cannot_build(network, error) from None

    def usual(self, architecture: str) -> NetworkSpec:
        """The paper's: R50-ViT-B_16."""
        return NetworkSpec(architecture=architecture, encoder="tu-vit_base_r50_s16_384", multiple=16)

    def example(self, architecture: str) -> NetworkSpec:
        """A network with a small transformer and a narrow decoder; its residual network has one size."""
        arguments: Any = {
            "img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3, "decoder_channels": [16, 16, 16, 8, 8],
        }  # fmt: skip
        return NetworkSpec(architecture=architecture, encoder="tu-vit_base_r50_s16_224", arguments=arguments)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title="TransUNet",
            year=2021,
            paper='Chen et al., "TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation", arXiv '
            "2102.04306, 2021",
            source="here",
            licence="Apache-2.0",
            encoders=ENCODERS,
            limits=WHOLE_WINDOW,
        )


FAMILY = TransUNets()
