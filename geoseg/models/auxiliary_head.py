"""An auxiliary segmentation head on an intermediate encoder stage, used in training alone (deep supervision).

In: a network. Out: logits (B, K, H, W) of the batch that the network forwarded last.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.tap import Tap
from geoseg.models.weights.encoder import encoder_of


class AuxiliaryHead(nn.Module):
    """The auxiliary head of PSPNet (Zhao et al. 2017, section 3.3) on the encoder's last stage but one.

    Its input comes from a forward hook on the encoder: the network's own parameters and state dict stay as they are.
    """

    def __init__(self, network: SegmentationNetwork, classes: int, dropout: float = 0.1):
        """Hook the encoder of a network that `build_network` has built, and classify `classes` classes.

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
        self._sides = network.body.sides
        self._tap = Tap(encoder, if_frozen=True, pick=partial(_map_of, stage=stage))

    def logits(self, size: Sequence[int]) -> Tensor:
        """Logits (B, K, *size) of the batch that the network forwarded last; once per batch."""
        features = self._tap.take()
        if features is None:
            raise RuntimeError("no features: run the network with gradients before asking for auxiliary logits")
        logits: Tensor = self.layers(features)
        logits = functional.interpolate(logits, size=self._sides.fitting(size), mode="bilinear", align_corners=False)
        return logits[:, :, : size[0], : size[1]]


def _stage(channels: Sequence[int]) -> int:
    """Index of the last stage but one; the first entry is the image, and some encoders have no features at stride 2."""
    stages = [index for index, count in enumerate(channels) if index and count]
    return stages[-2] if len(stages) > 1 else stages[-1]


def _map_of(output: Any, stage: int) -> Any:
    """The map of a stage in the output of an encoder."""
    maps = output[0] if isinstance(output, tuple) else output  # timm's transformers also return their tokens
    return maps[stage]
