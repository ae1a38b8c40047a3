"""Which network classifies pixels."""

from __future__ import annotations

from pydantic import Field

from geoseg.spec.arguments import NetworkArguments
from geoseg.spec.base import LARGEST_MULTIPLE, Name, Spec, Word


class NetworkSpec(Spec):
    """Which network, and with which arguments it is built."""

    architecture: Name
    """An architecture of segmentation-models-pytorch in lower case (unet, fpn), or pointwise: a 1 × 1 convolution."""
    encoder: Word = ""
    """Encoder name of segmentation-models-pytorch, e.g. resnet18 or tu-convnext_atto; empty for pointwise."""
    arguments: NetworkArguments = Field(default=NetworkArguments())
    """Further keyword arguments of the architecture, e.g. encoder_depth, and of timm's encoder, e.g. img_size."""
    multiple: int = Field(default=32, ge=1, le=LARGEST_MULTIPLE)
    """Height and width of an input must be multiples of this many pixels."""
