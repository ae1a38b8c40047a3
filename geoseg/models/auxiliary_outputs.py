"""The loss of a network's own auxiliary outputs, used in training alone.

In: a body with `auxiliary_parts`. Out: its `auxiliary_loss` of the batch that the network forwarded last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from geoseg.models.families.body import Body
from geoseg.models.tap import Tap
from geoseg.models.training_batch import PixelLoss


class AuxiliaryOutputs:
    """What the auxiliary parts of a body make of each batch, kept by forward hooks until the loss is computed.

    Nothing is kept without gradients or in evaluation mode: a network that is scored, or one that is frozen and whose
    outputs are known, has no such loss.
    """

    def __init__(self, body: Body):
        """Hook the parts of a body; its parameters and its state dict stay as they are."""
        self._body = body
        self._taps = [Tap(part) for part in body.auxiliary_parts]

    def loss(self, logits: Tensor, labels: Tensor, criterion: PixelLoss) -> Tensor | None:
        """Loss of the outputs for the first of the windows forwarded last, those of the labels; once per batch.

        None if the body has no such loss, or has not been forwarded in training since the last call.
        """
        outputs = [tap.take() for tap in self._taps]
        if not outputs or any(output is None for output in outputs):
            return None
        outputs = [_first(output, len(labels)) for output in outputs]
        sides = self._body.sides
        return self._body.auxiliary_loss(outputs, sides.padded(logits), sides.padded_labels(labels), criterion)


def _first(output: Any, count: int) -> Any:
    """The outputs for the first windows of a batch: of a tensor (B, ...), or of all in a sequence of them."""
    if isinstance(output, Tensor):
        return output[:count]
    return [_first(one, count) for one in output] if isinstance(output, Sequence) else output
