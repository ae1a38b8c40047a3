"""A second head that only training has: it lets the middle of the encoder feel the loss directly.

In: a network, whose class it does not change. Out: logits (B, K, H, W) of what the network saw last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.encoder import encoder_of


class AuxiliaryHead(nn.Module):
    """The auxiliary head of PSPNet (Zhao et al. 2017, section 3.3) on the encoder's last stage but one.

    It listens to the encoder, and so has nothing to do with the network's own parameters and state dict.
    """

    def __init__(self, network: SegmentationNetwork, classes: int, dropout: float = 0.1):
        """Listen to the encoder of a network as `build_network` makes it, to classify as many classes.

        Raises:
            ModelError: if the network has no encoder.
        """
        super().__init__()
        encoder = encoder_of(network)
        channels = network.body.stages
        stage = _stage(channels)
        inner = max(channels[stage] // 4, classes)
        self.layers = nn.Sequential(
            nn.Conv2d(channels[stage], inner, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(inplace=True),
            nn.Dropout2d(dropout),
            nn.Conv2d(inner, classes, kernel_size=1),
        )
        self._tap = _Tap(stage)
        encoder.register_forward_hook(self._tap)

    def logits(self, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of the batch that the network saw last; each batch can be asked for once."""
        logits: Tensor = self.layers(self._tap.take())
        return functional.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


class _Tap:
    """Forward hook that keeps one stage of what an encoder gives, while gradients are computed.

    Copies of the network carry it along; scored without gradients, they keep nothing.
    """

    def __init__(self, stage: int):
        self.stage = stage
        self.feature: Tensor | None = None

    def __call__(self, encoder: nn.Module, inputs: Any, output: Any) -> None:
        features = output[0] if isinstance(output, tuple) else output  # transformers of timm also give their tokens
        self.feature = features[self.stage] if torch.is_grad_enabled() else None

    def take(self) -> Tensor:
        feature, self.feature = self.feature, None
        if feature is None:
            raise RuntimeError("no features: run the network with gradients before asking for auxiliary logits")
        return feature


def _stage(channels: Sequence[int]) -> int:
    """Index of the last stage but one; the first entry is the image, and some encoders give nothing at stride 2."""
    stages = [index for index, count in enumerate(channels) if index and count]
    return stages[-2] if len(stages) > 1 else stages[-1]
