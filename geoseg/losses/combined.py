"""The weighted sum of the losses of a config. In: logits (B, K, H, W), class indexes (B, H, W). Out: a scalar.

Pixels with the index `IGNORE` are ignored; a batch without a valid pixel has the loss 0 and the gradient 0, not NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg.core.errors import SpecError
from geoseg.losses.class_weights import class_weights
from geoseg.losses.loss import LOSSES, ClassSets, Loss
from geoseg.spec import IGNORE, LossSpec, parse_spec


class SegmentationLoss(nn.Module):
    """Weighted sum of losses."""

    class_weights: Tensor | None

    def __init__(self, spec: LossSpec, class_counts: Sequence[float], sets: ClassSets = ()):
        """Build the losses.

        Args:
            spec: which losses, with which weights.
            class_counts: pixels of each class in the training labels, in the order of the logits.
            sets: class indexes of each set of classes that labels may be; the set number i is the label K + i.

        Raises:
            SpecError: if a parameter of a loss is invalid.
        """
        super().__init__()
        weights = None if spec.class_weights == "none" else class_weights(class_counts, spec.class_weights)
        self.register_buffer("class_weights", weights, persistent=False)
        self._losses, self._sets = make_losses(spec), sets

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits (B, K, H, W) of any float type against class indexes (B, H, W), int64."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if not (labels != IGNORE).any():
                return logits.sum() * 0
            logs = logits.log_softmax(dim=1)
            values = [weight * self._value(loss, logs, labels) for weight, loss in self._losses]
            return torch.stack(values).sum()

    def _value(self, loss: Loss, logs: Tensor, labels: Tensor) -> Tensor:
        if not self._sets:
            return loss(logs, labels, self.class_weights)
        return loss.of_sets(logs, labels, self.class_weights, self._sets)


def make_losses(spec: LossSpec) -> list[tuple[float, Loss]]:
    """Build the losses with a weight above 0, each with its weight.

    Raises:
        SpecError: if a loss cannot be loaded, or one of its parameters is invalid.
    """
    return [(term.weight, make_loss(name, term.parameters)) for name, term in spec.terms.items()]


def make_loss(name: str, parameters: dict[str, object]) -> Loss:
    """Build a loss by name.

    Raises:
        SpecError: if it is unknown, it cannot be loaded, or one of its parameters is invalid.
    """
    kind = LOSSES.get(name)
    if not (isinstance(kind, type) and issubclass(kind, Loss)):
        raise SpecError(f"loss {name!r}: {kind.__module__}.{kind.__qualname__} is no geoseg.losses.loss.Loss: mend it")
    return parse_spec(kind, parameters, source=f"loss {name}")
