"""The Shunted Transformer as an encoder, at three sizes.

Ren, Zhou, He, Feng and Wang, "Shunted Self-Attention via Multi-Scale Token Aggregation", CVPR 2022, section 3. Written
from the paper alone. There are no weights to start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.encoders.encoder import Encoder

CHANNELS = 64, 128, 256, 512
"""Channels of the four stages."""
HEADS = 2, 4, 8, 16
"""Heads of their attention."""
RATES = (8, 4), (4, 2), (2, 1), (1,)
"""Sides of the squares whose tokens are merged for keys and values: each for as many of a layer's heads."""
RATIOS = 8, 8, 4, 4
"""Inner channels of their perceptrons, per channel."""


class Size(NamedTuple):
    """What makes one of the encoders larger than another."""

    depths: Sequence[int]
    """Layers of each stage."""
    stem: int
    """Convolutions of 3 × 3 pixels at stride 2, before the first stage."""


SIZES = {
    "shunted_tiny": Size((1, 2, 4, 1), 1),
    "shunted_small": Size((2, 4, 12, 1), 1),
    "shunted_base": Size((3, 4, 24, 2), 2),
}
"""The sizes of the paper by name: 11.5, 22.4 and 39.6 million weights with the classifier of ImageNet."""


class ShuntedTransformer(Encoder):
    """Four stages of shunted layers, at strides 4, 8, 16 and 32."""

    def __init__(self, size: Size, bands: int = 3, depth: int = 5, output_stride: int = 32):
        """Make the stages up to the last map that is wanted.

        Raises:
            ValueError: if there is no such map.
        """
        super().__init__()
        if not 2 <= depth <= len(CHANNELS) + 1 or output_stride != 32:
            raise ValueError("a Shunted Transformer takes an encoder_depth of 2 to 5, and cannot dilate")
        self._stem = size.stem
        count = depth - 1
        embeddings: list[nn.Module] = [_stem(bands, CHANNELS[0], size.stem)]
        embeddings += [nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairwise(CHANNELS[:count])]
        self.embeddings = nn.ModuleList(embeddings)
        self.embedding_norms = nn.ModuleList(nn.LayerNorm(channels) for channels in CHANNELS[:count])
        self.stages = nn.ModuleList(
            nn.ModuleList(ShuntedLayer(CHANNELS[i], HEADS[i], RATES[i], RATIOS[i]) for _ in range(size.depths[i]))
            for i in range(count)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in CHANNELS[:count])
        self.out_channels = [bands, 0, *CHANNELS[:count]]
        self.output_stride = 2**depth
        self.apply(_initialise)

    def set_in_channels(self, bands: int, pretrained: bool = False) -> None:
        """Take another number of bands: smp calls this after it has built an encoder for three."""
        if bands != self.out_channels[0]:
            self.embeddings[0] = _stem(bands, CHANNELS[0], self._stem).apply(_initialise)
            self.out_channels = [bands, *self.out_channels[1:]]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image (B, C, H, W), an empty map of half its size, and features of a quarter, an eighth, ..."""
        maps = [image, image.new_empty(len(image), 0, image.shape[2] // 2, image.shape[3] // 2)]
        values = image
        parts = zip(self.embeddings, self.embedding_norms, self.stages, self.norms, strict=True)
        for embedding, embedding_norm, stage, norm in parts:
            values = embedding(values)
            size = values.shape[-2:]
            tokens = embedding_norm(_tokens_of(values))
            for layer in stage:  # type: ignore[attr-defined]  # a ModuleList
                tokens = layer(tokens, size)
            values = _map_of(norm(tokens), size)
            maps.append(values)
        return maps


class ShuntedLayer(nn.Module):
    """The "Shunted Transformer block": attention and a perceptron, each normalised before and added to its input."""

    def __init__(self, channels: int, heads: int, rates: Sequence[int], ratio: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = ShuntedAttention(channels, heads, rates)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = DetailPerceptron(channels, ratio * channels)

    def forward(self, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """Tokens (B, h w, C) of a map of a size (h, w) -> tokens."""
        tokens = tokens + self.attention(self.norm1(tokens), size)
        passed: Tensor = tokens + self.mlp(self.norm2(tokens), size)
        return passed


class ShuntedAttention(nn.Module):
    """ "Shunted self-attention": some heads attend to tokens merged over larger squares than others.

    K and V of a head i are those of MTA(X, r_i), a convolution with kernel and stride r_i; LE(V), a depthwise
    convolution, is added to V. Each head is softmax(Q Kᵀ / √d) V.
    """

    def __init__(self, channels: int, heads: int, rates: Sequence[int]):
        """Make the layers; heads are a multiple of the rates, channels of the heads."""
        super().__init__()
        self.heads, self.rates = heads // len(rates), tuple(rates)
        share = channels // len(rates)
        self.queries = nn.Linear(channels, channels)
        self.merge = nn.ModuleList(nn.Conv2d(channels, channels, rate, stride=rate) for rate in rates if len(rates) > 1)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in self.merge)
        self.keys_values = nn.ModuleList(nn.Linear(channels, 2 * share) for _ in rates)
        self.enhance = nn.ModuleList(nn.Conv2d(share, share, 3, padding=1, groups=share) for _ in rates)
        self.project = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """Tokens (B, h w, C) of a map of a size (h, w) -> tokens."""
        queries = self.queries(tokens).chunk(len(self.rates), dim=2)
        attended = [self._attended(group, queries[group], tokens, size) for group in range(len(self.rates))]
        projected: Tensor = self.project(torch.cat(attended, dim=2))
        return projected

    def _attended(self, group: int, queries: Tensor, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """What the heads of a group take from tokens merged at its rate (B, h w, C / groups)."""
        merged, size = self._merged(group, tokens, size)
        keys, values = self.keys_values[group](merged).chunk(2, dim=2)
        values = values + _tokens_of(self.enhance[group](_map_of(values, size)))
        q, k, v = (self._by_head(part) for part in (queries, keys, values))
        return functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def _merged(self, group: int, tokens: Tensor, size: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
        """Tokens merged over squares, and the size of their map; squares that reach beyond it see its edge."""
        if not len(self.merge):
            return tokens, size
        rate = self.rates[group]
        down, across = -size[0] % rate, -size[1] % rate
        values = functional.pad(_map_of(tokens, size), (0, across, 0, down), mode="replicate")
        values = self.merge[group](values)
        return functional.gelu(self.norms[group](_tokens_of(values))), values.shape[-2:]

    def _by_head(self, tokens: Tensor) -> Tensor:
        """(B, n, C) -> (B, heads, n, C / heads)."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class DetailPerceptron(nn.Module):
    """The "detail-specific feedforward layer": W2 GELU(x' + DS(x')) of x' = W1 x, DS being a depthwise convolution."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.enter = nn.Linear(channels, inner)
        self.detail = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.leave = nn.Linear(inner, channels)

    def forward(self, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """Tokens (B, h w, C) of a map of a size (h, w) -> tokens."""
        inner = self.enter(tokens)
        passed: Tensor = self.leave(functional.gelu(inner + _tokens_of(self.detail(_map_of(inner, size)))))
        return passed


def _stem(bands: int, channels: int, count: int) -> nn.Sequential:
    """The patch embedding: convolutions of 7 × 7 pixels at stride 2, some of 3 × 3, and one of 2 × 2 at stride 2."""
    layers: list[nn.Module] = [nn.Conv2d(bands, channels, 7, stride=2, padding=3, bias=False)]
    for _ in range(count):
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        layers.append(nn.Conv2d(channels, channels, 3, padding=1, bias=False))
    layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 2, stride=2)]
    return nn.Sequential(*layers)


def _tokens_of(values: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C)."""
    return values.flatten(2).transpose(1, 2)


def _map_of(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """(B, h w, C) -> (B, C, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)


def _initialise(layer: nn.Module) -> None:
    """Weights of linear layers and of convolutions as in vision transformers."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    elif isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
