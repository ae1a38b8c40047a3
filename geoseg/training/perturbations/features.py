"""Features of a network that are changed on their way from encoder to decoder.

In: a network, band values, and a change of features. Out: logits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from geoseg.models.families.body import Features
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.window_padding import cropped

Change = Callable[[Features], Features]
"""Makes other features of those of a batch."""


def classify_changed(network: SegmentationNetwork, image: Tensor, change: Change) -> Tensor:
    """Logits (B, K, h, w), float32, of band values (B, C, h, w) whose features are changed."""
    body = network.body
    values = network.normalize(image.contiguous(memory_format=torch.channels_last))
    padded = body.sides.padded(values)
    logits: Tensor = body.head(body.decode(change(body.encode(padded))))
    return (logits if padded is values else cropped(logits, padded.shape, values.shape)).float()


def channel_dropout(rate: float, generator: Generator) -> Change:
    """Drop whole channels of all maps (Tompson et al. 2015), each with a probability; the others grow."""

    def dropped(map_: Tensor) -> Tensor:
        kept = torch.rand(map_.shape[:2], generator=generator, device=generator.device) >= rate
        return map_ * (kept.to(map_) / (1 - rate))[:, :, None, None]

    return lambda features: Features([dropped(one) if one.shape[1] else one for one in features.maps], features.tokens)
