"""Segmenter: a vision transformer, and a mask transformer with a token for each class. In: an image. Out: logits.

Strudel, Garcia, Laptev and Schmid, "Segmenter: Transformer for Semantic Segmentation", ICCV 2021, section 3. Written
from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.vit import ENCODERS, WHOLE_WINDOW, VitBody, VitFamily
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Few

if TYPE_CHECKING:
    from geoseg.models.families.vit_encoder import VitEncoder

HEAD_CHANNELS = 64
"""Channels of each head of attention, as in the transformers of Dosovitskiy et al."""


class SegmenterArguments(Spec):
    """Arguments of a Segmenter besides those of its encoder."""

    decoder_depth: Few = 2
    """Blocks of the mask transformer: M of section 3.2."""


class Segmenter(VitBody):
    """A vision transformer, and the mask transformer on its last tokens."""

    def __init__(self, encoder: VitEncoder, classes: int, depth: int):
        """Join a mask transformer of so many blocks to an encoder."""
        super().__init__(encoder)
        self.decoder = MaskTransformer(self.width, classes, depth)
        self.upsampling = nn.Upsample(scale_factor=float(self.patch), mode="bilinear", align_corners=False)

    @property
    def head(self) -> nn.Module:
        """Upsamples the masks: they are the logits."""
        return self.upsampling

    @property
    def channels(self) -> int:
        """One mask for each class."""
        return self.decoder.classes.shape[1]

    def decode(self, features: Features) -> Tensor:
        """The masks (B, K, H / patch, W / patch)."""
        masks: Tensor = self.decoder(features.maps[-1])
        return masks


class MaskTransformer(nn.Module):
    """Section 3.2: patches and one embedding for each class pass a transformer together; their products are masks.

    Both are normalised to unit length, so that a mask is the cosine between a patch and its class.
    """

    def __init__(self, width: int, classes: int, depth: int):
        from timm.models.vision_transformer import Block  # takes seconds

        super().__init__()
        self.inputs = nn.Linear(width, width)
        self.classes = nn.Parameter(torch.empty(1, classes, width))
        heads = max(1, width // HEAD_CHANNELS)
        heads = heads if width % heads == 0 else 1
        self.blocks = nn.Sequential(*(Block(width, heads, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.project_patches = nn.Linear(width, width, bias=False)
        self.project_classes = nn.Linear(width, width, bias=False)
        self.mask_norm = nn.LayerNorm(classes)
        nn.init.trunc_normal_(self.classes, std=0.02)
        for layer in (self.project_patches, self.project_classes):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Masks (B, K, h, w) from a map of tokens (B, C, h, w)."""
        count, _, height, width = tokens.shape
        patches = self.inputs(tokens.flatten(2).transpose(1, 2))
        together = torch.cat([patches, self.classes.expand(count, -1, -1)], dim=1)
        together = self.norm(self.blocks(together))
        patches, classes = together.split([height * width, self.classes.shape[1]], dim=1)
        masks = _unit(self.project_patches(patches)) @ _unit(self.project_classes(classes)).transpose(1, 2)
        normed: Tensor = self.mask_norm(masks)
        return normed.transpose(1, 2).reshape(count, -1, height, width)


def _unit(vectors: Tensor) -> Tensor:
    """Vectors (..., C) of length 1."""
    return functional.normalize(vectors, dim=-1)


class Segmenters(VitFamily):
    """The family of this one architecture."""

    Settings = SegmenterArguments
    is_normalised = True
    small: ClassVar[dict[str, Any]] = {"decoder_depth": 1}

    def depths(self, network: NetworkSpec) -> Sequence[float]:
        """The last block alone."""
        return (1.0,)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder is no vision transformer of timm, or an argument is unknown.
        """
        given, _ = split_arguments(network, SegmenterArguments)
        return Segmenter(self.encoder(network, bands, None), classes, given.decoder_depth)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title="Segmenter",
            year=2021,
            paper='Strudel, Garcia, Laptev and Schmid, "Segmenter: Transformer for Semantic Segmentation", ICCV 2021',
            source="here",
            licence="Apache-2.0",
            encoders=f"{ENCODERS}; tu-vit_small_patch16_384 among others in the paper",
            limits=WHOLE_WINDOW,
        )


FAMILY = Segmenters()
