"""The contract of a loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from geoseg.core.registry import Registry
from geoseg.spec import IGNORE, Spec
from geoseg.spec import loss as settings

ClassSets = Sequence[Sequence[int]]
"""Class indexes of each set of classes."""


class Loss(Spec):
    """A loss: its fields are its parameters, validated, and calling it gives its value.

    Args and shapes of a call, with B windows of H × W pixels and K classes:
        logs (B, K, H, W): logarithms of the class probabilities, float32.
        labels (B, H, W): class indexes, int64; `IGNORE` where a pixel is ignored.
        class_weights (K,): float32, weight of a pixel of each class, relative to the others; None for equal weights.
            A loss that already balances the classes does not need them.

    The value is a scalar, 0 with the gradient 0 for a batch without a valid pixel. It falls when a pixel's true class
    gains probability. `tests/losses/test_losses_contract.py` holds every registered loss to that.
    """

    @abstractmethod
    def __call__(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar."""

    def of_sets(self, logs: Tensor, labels: Tensor, class_weights: Tensor | None, sets: ClassSets) -> Tensor:
        """Loss of a batch whose labels may be sets of classes, a scalar.

        The set number i of class indexes is the label K + i: the class of such a pixel is one of these. A loss leaves
        these pixels out unless it says otherwise.
        """
        return self(logs, labels.masked_fill(labels >= logs.shape[1], IGNORE), class_weights)


LOSSES: Registry[type[Loss]] = settings.LOSSES
"""All losses by name."""
