"""What a network learns from in a step, and by what its answers are judged.

Each class of networks has a method `training_loss`, which turns the two into a scalar: what else a network answers than
the classes of its windows, and how that is learnt, is known to itself alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from geoseg.models.surroundings import NO_VIEWS, Views


@dataclass(frozen=True)
class LabelledWindows:
    """A batch of training windows, varied, and what lies around them."""

    image: Tensor
    """Band values (B, C, S, S), float32."""
    labels: Tensor
    """Class indexes (B, S, S), int64; IGNORE where nothing is labelled."""
    views: Views = NO_VIEWS
    """What the levels show around the windows; no levels for a network that sees its windows alone."""
    view_labels: tuple[Tensor, ...] = ()
    """Per level: class indexes of its view's pixels (B, n, n), integers."""


class Criterion(Protocol):
    """Losses of logits (B, K, h, w) against class indexes (B, h, w), int64; each a scalar."""

    def __call__(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss that the settings name."""
        ...

    def of_windows(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The same, and that of a second head, if there is one, on what the encoder gave to these logits."""
        ...

    def of_hard_pixels(self, logits: Tensor, labels: Tensor, /) -> Tensor:
        """The loss of the pixels alone that are not right for certain."""
        ...
