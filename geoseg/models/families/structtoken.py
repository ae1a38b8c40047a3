"""StructToken: a vision transformer, and a learnt map for each class that takes its structure from the features.

Lin, Liang, Wu, He, Chen and Tian, "StructToken: Rethinking Semantic Segmentation with Structural Prior", arXiv
2203.12612, 2022. In: an image. Out: logits.

Written anew from the design of the paper and of its authors' code (Apache-2.0). Two things differ. Maps with one
channel for each class are normalised over a whole window, not pixel by pixel over the classes: of a pixel of two
classes that would leave a sign. And tokens are resampled with the edges of both maps in one place
(`align_corners=False`), whatever their sizes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body, Features
from geoseg.models.families.info import NetworkInfo
from geoseg.models.families.parameters import split_arguments
from geoseg.models.families.vit import ENCODERS, WHOLE_WINDOW, VitBody, VitFamily
from geoseg.spec import NetworkSpec, Spec
from geoseg.spec.arguments import Few, Fraction

if TYPE_CHECKING:
    from geoseg.models.families.vit_encoder import VitEncoder

EPS = 1e-6
"""Of all layers that normalise."""
RATIO = 4
"""Channels inside of a `Refinement` for each of its input."""
Norm = Callable[[int], nn.Module]
"""Makes a layer that normalises maps of so many channels."""


class StructTokenArguments(Spec):
    """Arguments of a StructToken besides those of its encoder."""

    extraction: Literal["cse", "sse", "pwe"] = "cse"
    """How structure tokens take from the features: cross-slice extraction (attention of tokens to slices of the
    features), self-slice extraction (of both to both), or point-wise extraction (a 1 × 1 convolution of both)."""
    decoder_depth: Few = 4
    """Rounds of extraction and refinement."""
    token_side: Annotated[int, Field(ge=1, le=256)] = 32
    """Side of the learnt structure tokens, which are resampled to the map of the window: best the side of the training
    windows in patches."""
    drop_path: Fraction = 0.1
    """Share of the windows for which the last round is left out in training; less for earlier rounds."""


class PixelNorm(nn.LayerNorm):
    """Layer normalisation of each pixel of a map (B, C, h, w) over its channels."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=EPS)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return super().forward(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def window_norm(channels: int) -> nn.Module:
    """Layer normalisation of a map (B, C, h, w) over its channels and pixels together."""
    return nn.GroupNorm(1, channels, eps=EPS)


def projection(channels: int, norm: Norm) -> nn.Sequential:
    """The map of queries, of keys, of values and of outputs: (B, C, h, w) -> (B, C, h, w)."""
    return nn.Sequential(
        *(nn.Conv2d(channels, channels, kernel_size=1), norm(channels), nn.GELU()),
        *(nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels), norm(channels), nn.GELU()),
        *(nn.Conv2d(channels, channels, kernel_size=1), norm(channels)),
    )


class SliceAttention(nn.Module):
    """Attention of slices to slices, a slice being all pixels of one channel of a map.

    Each slice of the output is a weighted mean of the slices of the values, with the same weights in all pixels.
    """

    def __init__(self, channels: int, norm: Norm, others: int, others_norm: Norm):
        """Let maps of so many channels attend to maps of so many others."""
        super().__init__()
        self.query = projection(channels, norm)
        self.key, self.value = projection(others, others_norm), projection(others, others_norm)
        self.out = projection(channels, norm)

    def forward(self, slices: Tensor, others: Tensor) -> Tensor:
        """(B, C, h, w), (B, C', h, w) -> (B, C, h, w)."""
        parts = (self.query(slices), self.key(others), self.value(others))
        passed = functional.scaled_dot_product_attention(*(part.flatten(2) for part in parts))
        projected: Tensor = self.out(passed.reshape(slices.shape))
        return projected


class Refinement(nn.Module):
    """A feed-forward network with a 3 × 3 convolution in groups, one for each channel, added to its input."""

    def __init__(self, channels: int, norm: Norm, drop_path: float):
        from timm.layers.drop import DropPath  # takes seconds

        super().__init__()
        inner = RATIO * channels
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, inner, kernel_size=1), norm(inner), nn.GELU()),
            *(nn.Conv2d(inner, inner, kernel_size=3, padding=1, groups=channels), norm(inner), nn.GELU()),
            *(nn.Conv2d(inner, channels, kernel_size=1), norm(channels)),
        )
        self.drop_path = DropPath(drop_path)

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return functional.gelu(values + self.drop_path(self.layers(values)))


class Extraction(nn.Module):
    """One round: structure tokens (B, K, h, w) and features (B, C, h, w) -> both, the tokens knowing more."""

    @abstractmethod
    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, h, w), (B, C, h, w) -> (B, K, h, w), (B, C, h, w)."""
        ...


class CrossSliceExtraction(Extraction):
    """Tokens attend to the slices of the features; each are refined for themselves."""

    def __init__(self, classes: int, width: int, drop_path: float):
        from timm.layers.drop import DropPath

        super().__init__()
        self.attention = SliceAttention(classes, window_norm, width, PixelNorm)
        self.drop_path = DropPath(drop_path)
        self.refine_tokens = Refinement(classes, window_norm, drop_path)
        self.refine_features = Refinement(width, PixelNorm, drop_path)

    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, h, w), (B, C, h, w) -> (B, K, h, w), (B, C, h, w)."""
        tokens = tokens + self.drop_path(self.attention(tokens, features))
        return self.refine_tokens(tokens), self.refine_features(features)


class JointExtraction(Extraction):
    """Tokens and features pass through the same layers, one behind the other. Subclasses define `mixed`."""

    def __init__(self, classes: int, width: int, drop_path: float):
        from timm.layers.drop import DropPath

        super().__init__()
        self.channels = classes, width
        self.drop_path = DropPath(drop_path)
        self.refine = Refinement(classes + width, PixelNorm, drop_path)

    @abstractmethod
    def mixed(self, together: Tensor) -> Tensor:
        """What is added to tokens and features (B, K + C, h, w)."""
        ...

    def forward(self, tokens: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, h, w), (B, C, h, w) -> (B, K, h, w), (B, C, h, w)."""
        together = torch.cat([tokens, features], dim=1)
        tokens, features = self.refine(together + self.drop_path(self.mixed(together))).split(self.channels, dim=1)
        return tokens, features


class SelfSliceExtraction(JointExtraction):
    """Tokens and features attend to all slices of both."""

    def __init__(self, classes: int, width: int, drop_path: float):
        super().__init__(classes, width, drop_path)
        self.attention = SliceAttention(classes + width, PixelNorm, classes + width, PixelNorm)

    def mixed(self, together: Tensor) -> Tensor:
        """(B, K + C, h, w) -> (B, K + C, h, w)."""
        mixed: Tensor = self.attention(together, together)
        return mixed


class PointWiseExtraction(JointExtraction):
    """As self-slice extraction, with a learnt matrix, a 1 × 1 convolution, in place of the attention's."""

    def __init__(self, classes: int, width: int, drop_path: float):
        super().__init__(classes, width, drop_path)
        both = classes + width
        self.layers = nn.Sequential(
            projection(both, PixelNorm), nn.Conv2d(both, both, kernel_size=1), projection(both, PixelNorm)
        )

    def mixed(self, together: Tensor) -> Tensor:
        """(B, K + C, h, w) -> (B, K + C, h, w)."""
        mixed: Tensor = self.layers(together)
        return mixed


EXTRACTIONS: dict[str, Callable[[int, int, float], Extraction]] = {
    "cse": CrossSliceExtraction,
    "sse": SelfSliceExtraction,
    "pwe": PointWiseExtraction,
}
"""By the value of `extraction`."""


class StructureDecoder(nn.Module):
    """The learnt structure tokens, and the rounds in which they become masks."""

    def __init__(self, width: int, classes: int, given: StructTokenArguments):
        """Take features of `width` channels."""
        super().__init__()
        self.project = nn.Conv2d(width, width, kernel_size=1)
        self.tokens = nn.Parameter(torch.empty(1, classes, given.token_side, given.token_side))
        extraction, last = EXTRACTIONS[given.extraction], max(1, given.decoder_depth - 1)
        self.rounds = nn.ModuleList(
            extraction(classes, width, given.drop_path * number / last) for number in range(given.decoder_depth)
        )
        if given.extraction == "cse":
            self.rounds[-1].refine_features = nn.Identity()  # whose output nothing takes
        nn.init.trunc_normal_(self.tokens, std=0.02)
        self.apply(_init_convolution)

    def forward(self, features: Tensor) -> Tensor:
        """Masks (B, K, h, w) from features (B, C, h, w)."""
        features = self.project(features)
        tokens = functional.interpolate(self.tokens, size=features.shape[-2:], mode="bicubic", align_corners=False)
        tokens = tokens.expand(len(features), -1, -1, -1)
        for extraction in self.rounds:
            tokens, features = extraction(tokens, features)
        return tokens


class MaskRefinement(nn.Module):
    """Two 3 × 3 convolutions, each behind its normalisation, added to their input."""

    def __init__(self, classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            *(window_norm(classes), nn.GELU(), nn.Conv2d(classes, classes, kernel_size=3, padding=1)),
            *(window_norm(classes), nn.GELU(), nn.Conv2d(classes, classes, kernel_size=3, padding=1)),
        )
        self.apply(_init_convolution)

    def forward(self, masks: Tensor) -> Tensor:
        """(B, K, h, w) -> (B, K, h, w)."""
        refined: Tensor = masks + self.layers(masks)
        return refined


def _init_convolution(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d) and layer.bias is not None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)


class StructToken(VitBody):
    """A vision transformer, and structure tokens on its last map."""

    def __init__(self, encoder: VitEncoder, classes: int, given: StructTokenArguments):
        """Join tokens for so many classes to an encoder."""
        super().__init__(encoder)
        self.decoder = StructureDecoder(self.width, classes, given)
        upsampling = nn.Upsample(scale_factor=float(self.patch), mode="bilinear", align_corners=False)
        self.segmentation_head = nn.Sequential(MaskRefinement(classes), upsampling)

    @property
    def head(self) -> nn.Module:
        """Refines masks (B, K, h, w) and upsamples them: they are the logits (B, K, H, W)."""
        return self.segmentation_head

    @property
    def channels(self) -> int:
        """One mask for each class."""
        return self.decoder.tokens.shape[1]

    def decode(self, features: Features) -> Tensor:
        """The masks (B, K, H / patch, W / patch)."""
        masks: Tensor = self.decoder(features.maps[-1])
        return masks


class StructTokens(VitFamily):
    """The family of this one architecture."""

    Settings = StructTokenArguments
    small: ClassVar[dict[str, Any]] = {"decoder_depth": 2, "token_side": 4}

    def depths(self, network: NetworkSpec) -> Sequence[float]:
        """The last block alone."""
        return (1.0,)

    def build(self, network: NetworkSpec, bands: int, classes: int) -> Body:
        """Build a network with fresh weights.

        Raises:
            ModelError: if the encoder is no vision transformer of timm, or an argument is unknown.
        """
        given, _ = split_arguments(network, StructTokenArguments)
        return StructToken(self.encoder(network, bands, None), classes, given)

    def info(self, architecture: str) -> NetworkInfo:
        """What a user reads about it."""
        return NetworkInfo(
            title="StructToken",
            year=2022,
            paper='Lin, Liang, Wu, He, Chen and Tian, "StructToken: Rethinking Semantic Segmentation with Structural '
            'Prior", arXiv 2203.12612, 2022',
            source="here",
            licence="Apache-2.0",
            encoders=f"{ENCODERS}; tu-vit_large_patch16_384 among others in the paper",
            limits=WHOLE_WINDOW,
        )


FAMILY = StructTokens()
