"""Keyword arguments with which networks may be built: those of the architectures of segmentation-models-pytorch, and
the few of timm's encoders that change the network.

Bundles from unknown people name them, so none of these opens a file, sends a request, or is unbounded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

ARCHITECTURES = (
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
)
"""The architectures of segmentation-models-pytorch."""
Channels = Annotated[int, Field(ge=1, le=16384)]
ChannelList = Annotated[list[Channels], Field(max_length=8)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
PatchSide = Annotated[int, Field(ge=1, le=64)]
Few = Annotated[int, Field(ge=1, le=256)]
FewList = Annotated[list[Few], Field(max_length=8)]


class NormArguments(TypedDict, total=False):
    """A normalisation layer of a decoder."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)  # type: ignore[misc]

    type: Literal["batchnorm", "identity", "layernorm", "instancenorm"]
    eps: Annotated[float, Field(gt=0, le=1)]
    momentum: Annotated[float, Field(ge=0, le=1)]
    affine: bool
    track_running_stats: bool


class EncoderArguments(TypedDict, total=False):
    """Arguments of timm's models; timm checks which of them a model takes."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)  # type: ignore[misc]

    img_size: Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    """Height and width of the images for which tables of positions are made, in pixels; as in the weights if left
    out."""
    dynamic_img_size: bool
    """Whether images may have other sizes than `img_size`; set by itself for vision transformers."""
    dynamic_img_pad: bool
    """Whether images are padded to whole patches."""
    strict_img_size: bool
    """Whether images must have the size `img_size`; switched off by itself for Swin transformers."""
    always_partition: bool
    """Whether attention is confined to windows also where a map is as small as one."""
    patch_size: PatchSide | Annotated[list[PatchSide], Field(min_length=2, max_length=2)]
    """Side of a patch, in pixels."""
    window_size: PatchSide | Annotated[list[PatchSide], Field(min_length=2, max_length=2)]
    """Side of the windows of attention, in patches."""
    embed_dim: Channels | ChannelList
    """Channels of a token, or of each stage."""
    depth: Few
    """Number of blocks."""
    depths: FewList
    """Number of blocks of each stage."""
    dims: ChannelList
    """Channels of each stage."""
    num_heads: Few | FewList
    """Heads of each attention, or of those of each stage."""
    mlp_ratio: Annotated[float, Field(gt=0, le=16)]
    """Channels inside of a block's perceptron, over those of a token."""
    qkv_bias: bool
    """Whether queries, keys and values have a bias."""
    class_token: bool
    """Whether there is a class token."""
    reg_tokens: Annotated[int, Field(ge=0, le=64)]
    """Number of register tokens."""
    init_values: Annotated[float, Field(gt=0, le=10)] | None
    """First value of the scale of each block's output."""
    feature_location: Literal["", "incre"]
    """Which maps of an HRNet are taken: incre, those of its classifier, or "", its branches as they are."""
    num_classes: Annotated[int, Field(ge=0, le=100_000)]
    """Outputs of the encoder's own classifier, which is not used."""
    global_pool: Literal["", "avg", "max", "avgmax", "token", "map"]
    """Pooling before that classifier."""
    drop_rate: Fraction
    """Dropout before that classifier."""
    drop_path_rate: Fraction
    """Share of the blocks that are left out at random in training (stochastic depth)."""
    proj_drop_rate: Fraction
    """Dropout after projections."""
    attn_drop_rate: Fraction
    """Dropout of attention."""


class NetworkArguments(EncoderArguments, total=False):
    """Arguments of the architectures, and of timm's encoders."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)  # type: ignore[misc]

    encoder_depth: Annotated[int, Field(ge=1, le=24)]
    """Stages of the encoder; each halves the size of the one before."""
    encoder_output_stride: Literal[8, 16, 32]
    """Stride of the encoder's last map, from which on strides are replaced by dilation."""
    encoder_output_indices: Annotated[list[Annotated[int, Field(ge=-256, le=255)]], Field(max_length=24)] | None
    """Indexes of the blocks whose tokens are taken."""
    decoder_use_norm: bool | Literal["batchnorm", "identity", "layernorm", "instancenorm", "inplace"] | NormArguments
    """Normalisation layers of the decoder: true is batchnorm."""
    decoder_use_batchnorm: bool | Literal["inplace"]
    """The former name of `decoder_use_norm`."""
    decoder_channels: Channels | ChannelList
    """Channels of the decoder, or of each of its stages, the coarsest first."""
    decoder_attention_type: Literal["scse"] | None
    """Attention of the decoder: scse weighs channels and pixels (Roy et al. 2018)."""
    decoder_interpolation: Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
    """How the decoder upsamples."""
    decoder_pab_channels: Channels
    """Channels of the position-wise attention block."""
    decoder_pyramid_channels: Channels
    """Channels of the pyramid."""
    decoder_segmentation_channels: Channels
    """Channels of the maps that are joined before the head."""
    decoder_intermediate_channels: ChannelList
    """Channels of the maps that are made of the tokens of each depth."""
    decoder_fusion_channels: Channels
    """Channels of the fused maps."""
    decoder_merge_policy: Literal["add", "cat"]
    """How the maps of the pyramid are joined: added, or one behind the other."""
    decoder_readout: Literal["ignore", "add", "cat"]
    """What becomes of the class token: ignored, added to each token, or joined with it."""
    decoder_atrous_rates: FewList
    """Dilations of the branches of the atrous spatial pyramid."""
    decoder_aspp_separable: bool
    """Whether its convolutions are separable."""
    decoder_aspp_dropout: Fraction
    """Dropout after it."""
    decoder_dropout: Fraction
    """Dropout of the decoder."""
    psp_out_channels: Channels
    """Channels of the pyramid's output."""
    psp_dropout: Fraction
    """Dropout after the pyramid."""
    upsampling: Annotated[int, Field(ge=1, le=32)] | None
    """Factor by which the head upsamples."""
    activation: Literal["identity"] | None
    """Activation after the head: none."""
