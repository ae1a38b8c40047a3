"""Models of timm that are encoders in other ways than smp's: vision transformers that give maps of their tokens.

Importing this imports timm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import timm
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn


class TimmModel(nn.Module):
    """A whole model of timm as an encoder, which is loaded with weights of timm's names."""

    def __init__(self, name: str, bands: int, *, is_pretrained: bool, arguments: Mapping[str, Any]):
        """Build the model of a name of timm's, with the weights of that name if it is to be pretrained."""
        super().__init__()
        self.name = name
        self.model: Any = timm.create_model(name, pretrained=is_pretrained, in_chans=bands, **arguments)


class Tokens(NamedTuple):
    """Which tokens of a transformer are wanted."""

    depths: Sequence[float]
    """The blocks after which they are taken, as shares of all blocks; the last is 1."""
    is_normalised: bool
    """Whether they are normalised by the transformer's last layer."""


class VitEncoder(TimmModel):
    """A vision transformer: (B, C, H, W) -> the image, and maps of tokens (B, C', H / patch, W / patch)."""

    def __init__(self, name: str, bands: int, wanted: Tokens, *, is_pretrained: bool, arguments: Mapping[str, Any]):
        """Build the model of a name of timm's, with the weights of that name if it is to be pretrained.

        Raises:
            ValueError: if it is no vision transformer.
        """
        super().__init__(name, bands, is_pretrained=is_pretrained, arguments=arguments)
        blocks: Sequence[Mapping[str, Any]] = self.model.feature_info
        if len({(block["num_chs"], block["reduction"]) for block in blocks}) > 1:
            raise ValueError("its maps have several strides")
        self.blocks = [max(1, round(share * len(blocks))) - 1 for share in wanted.depths]
        self.out_channels = [bands, *(int(blocks[index]["num_chs"]) for index in self.blocks)]
        self.output_stride = int(blocks[-1]["reduction"])
        self._is_normalised = wanted.is_normalised
        if not wanted.is_normalised:
            self.model.norm = nn.Identity()  # a layer without use would keep the weights it starts with

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image and the maps, the one after the last block at the end."""
        wanted = sorted(set(self.blocks))  # a shallow transformer may have to give one twice
        maps = self.model.forward_intermediates(
            image, indices=wanted, norm=self._is_normalised, intermediates_only=True
        )
        return [image, *(maps[wanted.index(block)] for block in self.blocks)]


class HybridEncoder(TimmModel):
    """A residual network whose last map a vision transformer takes: (B, C, H, W) -> the image, the maps of the residual
    network at strides 2, 4 and 8, and a map of the transformer's normalised last tokens (B, C', H / 16, W / 16)."""

    def __init__(self, name: str, bands: int, *, is_pretrained: bool, arguments: Mapping[str, Any]):
        """Build the model of a name of timm's, with the weights of that name if it is to be pretrained.

        Raises:
            ValueError: if it is no such model.
        """
        super().__init__(name, bands, is_pretrained=is_pretrained, arguments=arguments)
        network = getattr(self.model.patch_embed, "backbone", None)
        if (
            not isinstance(network, ResNetV2)
            or len(network.stages) != STAGES
            or self.model.patch_embed.patch_size != (1, 1)
        ):
            raise ValueError("it has no residual network of three stages before its transformer")
        skips: Any = network.feature_info[:STAGES]
        self.out_channels = [bands, *(int(stage["num_chs"]) for stage in skips), int(self.model.embed_dim)]
        self.output_stride = 16

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image and the maps, the tokens' at the end."""
        embed = self.model.patch_embed
        values, maps = embed.backbone.forward_intermediates(image, indices=[*range(STAGES)])
        tokens = self.model.norm_pre(self.model._pos_embed(embed.proj(values).permute(0, 2, 3, 1)))
        tokens = self.model.norm(self.model.blocks(tokens))[:, self.model.num_prefix_tokens :]
        height, width = values.shape[-2:]
        return [image, *maps, tokens.transpose(1, 2).reshape(len(image), -1, height, width)]


STAGES = 3
"""Stages of the residual network of a hybrid, and maps of it that are skipped past the transformer."""
