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

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[misc]

    type: Literal["batchnorm", "identity", "layernorm", "instancenorm"]
    eps: Annotated[float, Field(gt=0, le=1)]
    momentum: Annotated[float, Field(ge=0, le=1)]
    affine: bool
    track_running_stats: bool


class EncoderArguments(TypedDict, total=False):
    """Arguments of timm's models; timm checks which of them a model takes."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[misc]

    img_size: Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)]
    dynamic_img_size: bool
    dynamic_img_pad: bool
    strict_img_size: bool
    always_partition: bool
    patch_size: PatchSide | Annotated[list[PatchSide], Field(min_length=2, max_length=2)]
    window_size: PatchSide | Annotated[list[PatchSide], Field(min_length=2, max_length=2)]
    embed_dim: Channels | ChannelList
    depth: Few
    depths: FewList
    dims: ChannelList
    num_heads: Few | FewList
    mlp_ratio: Annotated[float, Field(gt=0, le=16)]
    qkv_bias: bool
    class_token: bool
    reg_tokens: Annotated[int, Field(ge=0, le=64)]
    init_values: Annotated[float, Field(gt=0, le=10)] | None
    feature_location: Literal["", "incre"]
    num_classes: Annotated[int, Field(ge=0, le=100_000)]
    global_pool: Literal["", "avg", "max", "avgmax", "token", "map"]
    drop_rate: Fraction
    drop_path_rate: Fraction
    proj_drop_rate: Fraction
    attn_drop_rate: Fraction


class NetworkArguments(EncoderArguments, total=False):
    """Arguments of the architectures, and of timm's encoders."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[misc]

    encoder_depth: Annotated[int, Field(ge=1, le=24)]
    encoder_output_stride: Literal[8, 16, 32]
    encoder_output_indices: Annotated[list[Annotated[int, Field(ge=-256, le=255)]], Field(max_length=24)] | None
    decoder_use_norm: bool | Literal["batchnorm", "identity", "layernorm", "instancenorm", "inplace"] | NormArguments
    decoder_use_batchnorm: bool | Literal["inplace"]
    decoder_channels: Channels | ChannelList
    decoder_attention_type: Literal["scse"] | None
    decoder_interpolation: Literal["nearest", "nearest-exact", "bilinear", "bicubic", "area"]
    decoder_pab_channels: Channels
    decoder_pyramid_channels: Channels
    decoder_segmentation_channels: Channels
    decoder_intermediate_channels: ChannelList
    decoder_fusion_channels: Channels
    decoder_merge_policy: Literal["add", "cat"]
    decoder_readout: Literal["ignore", "add", "cat"]
    decoder_atrous_rates: FewList
    decoder_aspp_separable: bool
    decoder_aspp_dropout: Fraction
    decoder_dropout: Fraction
    psp_out_channels: Channels
    psp_dropout: Fraction
    upsampling: Annotated[int, Field(ge=1, le=32)] | None
    activation: Literal["identity"] | None
