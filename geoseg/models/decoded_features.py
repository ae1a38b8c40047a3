"""The decoder's features of a batch, for what a training method makes of them besides logits.

In: a body, whose head they are the input of. Out: features (B, L, h, w) of the batch that the network forwarded last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geoseg.models.families.body import Body
from geoseg.models.tap import Tap
from geoseg.models.window_padding import cropped


class DecodedFeatures:
    """What the head of a body was given last, kept by a forward hook until it is taken.

    Nothing is kept without gradients or in evaluation mode. The body's parameters and its state dict stay as they are.
    """

    def __init__(self, body: Body):
        """Hook the head of a body."""
        self._sides = body.sides
        self._tap = Tap(body.head, of_input=True)

    def take(self, count: int, size: Sequence[int]) -> Tensor:
        """Features (count, L, h, w) of the first images of the batch, which were (B, C, *size); once per batch."""
        features: Tensor | None = self._tap.take()
        if features is None:
            raise RuntimeError("no features: run the network in training, with gradients, before asking for them")
        given = torch.Size(size)
        return cropped(features[:count], torch.Size(self._sides.fitting(given)), given)
