"""What the attention heads on a dilated encoder have in common: arguments, encoder, and head.

Their papers take the last map of a ResNet whose last strides are replaced by dilation: stride 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import nn

from geoseg.core.errors import ModelError
from geoseg.models.families.combinations import check_combination
from geoseg.models.families.encoder_family import EncoderFamily
from geoseg.models.families.parameters import split_arguments
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import Channels, Fraction
from geoseg.spec.base import Spec

UNDILATED = 32
"""Stride of an encoder's last map without dilation."""
ANY_ENCODER = "any of smp or timm (tu-NAME); at a stride of 8 or 16, one that can dilate"
SEES_WHOLE_WINDOWS = (
    "Each pixel's answer depends on the whole window: predict in windows of about the size that it was trained on, "
    "and expect seams between windows to be fainter the more these overlap."
)


class HeadArguments(Spec):
    """Arguments of a head on the encoder's last map."""

    encoder_output_stride: Literal[8, 16, 32] = 8
    """Stride of the map; 8 and 16 replace the encoder's last strides by dilation."""
    channels: Channels | None = None
    """Channels of the head; by default a quarter of the map's."""
    dropout: Fraction = 0.1
    """Share of the channels that is dropped before pixels are classified, in training."""

    def width(self, encoder: nn.Module) -> int:
        """Channels of the head on an encoder."""
        return self.channels or max(8, last_channels(encoder) // 4)


class HeadFamily(EncoderFamily):
    """Builds encoders for the heads."""

    Settings: ClassVar[type[HeadArguments]] = HeadArguments

    def encoder(self, network: NetworkSpec, bands: int, tag: str | None) -> nn.Module:
        """Build the encoder of a network.

        Raises:
            ModelError: if it is unknown, or cannot dilate and is to.
        """
        from geoseg.models.families.any_encoder import build_encoder

        own, more = split_arguments(network, self.Settings)
        check_dilation(network, own.encoder_output_stride)
        return build_encoder(network, bands, tag, output_stride=own.encoder_output_stride, more=more)

    def check(self, network: NetworkSpec) -> None:
        """Refuse an unknown encoder, and one that cannot dilate and is to.

        Raises:
            ModelError: with the nearest name, or the nearest combination that works.
        """
        super().check(network)
        check_dilation(network, split_arguments(network, self.Settings)[0].encoder_output_stride)

    def example(self, architecture: str) -> NetworkSpec:
        """A narrow head on a small ResNet."""
        arguments: Any = {"channels": 16}
        return NetworkSpec(architecture=architecture, encoder="tu-test_resnet", arguments=arguments)


def check_dilation(network: NetworkSpec, stride: int) -> None:
    """Refuse an encoder that cannot give its last map at a stride.

    Raises:
        ModelError: with the nearest combination that works.
    """
    check_combination(network, "maps")
    if stride == UNDILATED:
        return
    try:
        check_combination(network, "dilation")
    except ModelError as error:
        raise ModelError(f"{error}; or give encoder_output_stride: {UNDILATED}") from None


def last_channels(encoder: nn.Module) -> int:
    """Channels of the last map of an encoder of smp."""
    stages: Sequence[int] = encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
    return stages[-1]


def stride_of(encoder: nn.Module) -> int:
    """Stride of the last map of an encoder of smp."""
    return int(encoder.output_stride)  # type: ignore[arg-type]  # a number
