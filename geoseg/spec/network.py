"""Which network classifies pixels."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from geoseg.spec.base import LARGEST_MULTIPLE, Name, Spec


class NetworkSpec(Spec):
    """Which network, and with which arguments it is built."""

    architecture: Name
    """An architecture of segmentation-models-pytorch in lower case (unet, fpn), or pointwise: a 1 × 1 convolution."""
    encoder: str = Field(default="", max_length=100)
    """Encoder name of segmentation-models-pytorch, e.g. resnet18 or tu-convnext_atto; empty for pointwise."""
    arguments: dict[str, Any] = Field(default={})
    """Further keyword arguments of the architecture, e.g. encoder_depth."""
    multiple: int = Field(default=32, ge=1, le=LARGEST_MULTIPLE)
    """Height and width of an input must be multiples of this many pixels."""
