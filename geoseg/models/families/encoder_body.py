"""Bodies of an encoder of smp or timm, and a decoder and a head of any kind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from geoseg.models.families.body import Body, Features
from geoseg.models.window_padding import LEAST_PX, Sides


class EncoderBody(Body):
    """A body whose encoder gives the image and maps of half its size, a quarter, ..., as those of smp do."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, head: nn.Module, channels: int):
        """Join the parts.

        Args:
            encoder: an encoder of smp, with its `out_channels` and `output_stride`.
            decoder: takes the maps of the encoder.
            head: takes the output of the decoder (B, channels, h, w).
            channels: of the output of the decoder.
        """
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.segmentation_head = head
        self._channels = channels

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, h, w) into logits (B, K, H, W)."""
        return self.segmentation_head

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        return self._channels

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the maps of `encode`: the image, then each stage, some of them empty."""
        stages: Sequence[int] = self.encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        return stages

    @property
    def sides(self) -> Sides:
        """Multiples of the stride of the encoder's last map."""
        stride = int(self.encoder.output_stride)  # type: ignore[arg-type]  # a number
        return Sides(stride, least=max(stride, LEAST_PX))

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        return Features(self.encoder(image))

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, h, w)."""
        decoded: Tensor = self.decoder(features.maps)
        return decoded
