"""Which encoders of smp and timm go with which architectures, known without building a network.

In: the names in a NetworkSpec. Out: an error with the reason and the nearest combination that works; and the arguments
that an encoder needs to take windows of any size. Encoders that no line here names are tried when they are built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from geoseg.core.errors import ModelError
from geoseg.models.families.timm_names import TIMM
from geoseg.models.window_padding import LEAST_PX, Sides
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import ARCHITECTURES

Need = Literal["maps", "dilation", "tokens"]
"""What an architecture takes of an encoder: maps of several strides; the same, with strides that can be replaced by
dilation; the tokens of a vision transformer, all of one stride."""


@dataclass(frozen=True)
class EncoderKind:
    """Encoders that can do the same."""

    title: str
    """In the plural."""
    names: tuple[str, ...]
    """How their names begin."""
    gives: Need | None = "dilation"
    """The most that they give: dilation also gives maps. None: nothing that an architecture takes."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments with which they take images of any size."""
    has_whole_strides: bool = False
    """Whether they take images of whole strides alone, so that a U-Net must pad others."""
    stride: int = 1
    """Stride of the coarsest map that they compute, even if it is not asked for, in pixels."""
    least: int = LEAST_PX
    """Least side of the images that they take, in pixels."""


KINDS = (
    EncoderKind(
        "vision transformers",
        ("tu-vit_", "tu-deit", "tu-eva", "tu-flexivit"),
        "tokens",
        arguments={"dynamic_img_size": True},
    ),
    EncoderKind("vision transformers of one size", ("tu-beit", "tu-cait", "tu-convit"), "tokens"),
    EncoderKind("CrossViTs", ("tu-crossvit",), None),
    EncoderKind("perceptrons on patches", ("tu-mixer", "tu-gmlp"), "tokens"),
    EncoderKind(
        "Swin transformers",
        ("tu-swin_", "tu-swinv2_"),
        "maps",
        arguments={"strict_img_size": False},
        has_whole_strides=True,
    ),
    EncoderKind("MiT encoders", ("mit_",)),
    EncoderKind("Shunted Transformers", ("shunted_",), "maps", has_whole_strides=True),
    EncoderKind("HRNets", ("tu-hrnet",), "maps", has_whole_strides=True, stride=32),
    EncoderKind("DLA encoders", ("tu-dla",), "maps", has_whole_strides=True),
    EncoderKind("TResNets", ("tu-tresnet",), "maps", has_whole_strides=True),
    EncoderKind("VGG encoders", ("vgg", "tu-vgg"), "maps"),
    EncoderKind("AlexNets", ("alexnet",), "maps"),
    EncoderKind("DenseNets", ("densenet", "tu-densenet"), "maps"),
    EncoderKind("Inception encoders", ("inception",), "maps"),
    EncoderKind("Inception encoders of timm", ("tu-inception_v", "tu-inception_resnet"), "maps", least=96),
    EncoderKind("Xception encoders without dilation", ("xception", "tu-legacy_xception"), "maps"),
    EncoderKind("PVT and Twins encoders", ("tu-pvt", "tu-twins"), "maps"),
    EncoderKind("MaxViT and CoAtNet encoders", ("tu-maxvit", "tu-maxxvit", "tu-coat"), "maps"),
    EncoderKind("FocalNets", ("tu-focalnet",), "maps"),
    EncoderKind("Hiera encoders", ("tu-hiera",), "maps"),
    EncoderKind("MambaOut encoders", ("tu-mambaout",), "maps"),
    EncoderKind("HGNets", ("tu-hgnet",), "maps"),
    EncoderKind("FastViT and EfficientViT encoders", ("tu-fastvit", "tu-efficientvit_b", "tu-efficientvit_l"), "maps"),
    EncoderKind("MetaFormers", ("tu-caformer", "tu-convformer", "tu-poolformer"), "maps"),
    EncoderKind("EdgeNeXt encoders", ("tu-edgenext",), "maps"),
    EncoderKind("DaViT encoders", ("tu-davit",), "maps"),
    EncoderKind("GhostNets", ("tu-ghostnet",), "maps"),
    EncoderKind("DPNs of timm", ("tu-dpn",), "maps"),
    EncoderKind("ResNets", ("tu-resnet", "tu-resnext", "tu-wide_resnet", "tu-test_resnet")),
    EncoderKind("ConvNeXt encoders", ("tu-convnext",)),
    EncoderKind("EfficientNets", ("tu-efficientnet_", "tu-tf_efficientnet", "tu-efficientnetv2")),
)
"""By the beginnings of names, no two of which are the same."""
OF_SMP = EncoderKind("convolutional encoders of smp", ())
"""All encoders of smp itself that are of no other kind."""
NEEDS: Mapping[str, Need] = {
    **dict.fromkeys(ARCHITECTURES, "maps"),
    **dict.fromkeys(("deeplabv3", "deeplabv3plus", "pan"), "dilation"),
    "dpt": "tokens",
    **dict.fromkeys(("fcn32s", "fcn16s", "fcn8s", "hrnetv2", "unetformer", "gated_scnn", "smp04_upernet"), "maps"),
    **dict.fromkeys(("maskformer", "mask2former"), "maps"),
    **dict.fromkeys(("setr_naive", "setr_pup", "setr_mla", "segmenter", "structtoken"), "tokens"),
}
"""By architecture; of one that is not here, nothing is known."""
WITHOUT = {"unetplusplus": "mit_", "linknet": "mit_"}
"""Beginnings of names of encoders that smp refuses for an architecture."""
NEAREST = {"unetplusplus": "unet", "linknet": "unet", "deeplabv3": "pspnet", "deeplabv3plus": "upernet", "pan": "fpn"}
"""Architectures alike that take maps."""
EXAMPLES: Mapping[Need, str] = {"maps": "resnet34", "dilation": "resnet34", "tokens": "tu-vit_small_patch16_224"}
"""An encoder that gives what is needed."""
NEEDED: Mapping[Need, str] = {
    "maps": "maps of several strides",
    "dilation": "maps of a dilated encoder",
    "tokens": "the tokens of a vision transformer",
}
"""In words."""


def kind_of(encoder: str) -> EncoderKind | None:
    """The kind of an encoder; None for one of timm that is of no kind that is named here."""
    found = next((kind for kind in KINDS if encoder.startswith(kind.names)), None)
    return OF_SMP if found is None and encoder and not encoder.startswith(TIMM) else found


def check_combination(network: NetworkSpec, need: Need | None = None) -> None:
    """Refuse an encoder that does not go with its architecture, as far as is known without building them.

    Args:
        network: names both.
        need: what the architecture takes of the encoder; by default what `NEEDS` says.

    Raises:
        ModelError: with the reason, and the nearest combination that works.
    """
    name, encoder, kind = network.architecture.lower(), network.encoder, kind_of(network.encoder)
    need = need or NEEDS.get(name)
    if encoder.startswith(WITHOUT.get(name, " ")):
        raise ModelError(f"{name} does not go with {encoder}: take {NEAREST[name]} with it, or encoder resnet34")
    if kind is None or need is None or _gives(kind, need):
        return _check_patches(network)
    if kind.gives is None:
        raise ModelError(f"{kind.title} go with no architecture ({encoder}): take encoder {EXAMPLES[need]}")
    other = "dpt" if kind.gives == "tokens" else NEAREST.get(name, "upernet")
    raise ModelError(
        f"{name} takes {NEEDED[need]}, which {kind.title} do not give ({encoder}): take encoder {EXAMPLES[need]}, or "
        f"{other} with {encoder}"
    )


def _gives(kind: EncoderKind, need: Need) -> bool:
    return kind.gives == need or (kind.gives, need) == ("dilation", "maps")


def encoder_arguments(encoder: str) -> dict[str, Any]:
    """The arguments with which an encoder takes images of any size, for what a spec does not say otherwise."""
    kind = kind_of(encoder)
    return {} if kind is None else dict(kind.arguments)


def sides_of(encoder: str, stride: int) -> Sides:
    """Sides of the images that an encoder with a stride takes, for a network that resizes each of its maps."""
    kind = kind_of(encoder) or OF_SMP
    return Sides(stride if kind.has_whole_strides else 1, least=max(stride, kind.least))


def whole_stride(encoder: str, stride: int) -> int:
    """The stride of which images are whole multiples, for an encoder that gives maps of strides up to this one."""
    return max(stride, (kind_of(encoder) or OF_SMP).stride)


def _check_patches(network: NetworkSpec) -> None:
    """Refuse patches of 14 pixels for dpt, whose maps of tokens are enlarged and reduced by powers of two."""
    side = network.arguments.get("patch_size", 14)
    if network.architecture.lower() == "dpt" and "patch14" in network.encoder and side not in (8, 16, 32):
        raise ModelError(
            f"dpt takes patches of 8, 16 or 32 px, not of 14 px ({network.encoder}): give network.arguments "
            "{patch_size: 16}, to which pretrained weights are resampled, or take setr_pup"
        )
