"""The contract of a way to adapt a network to a scene.

In: a network, and windows of the scene. Out: the entries of its state dict that become others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class SceneWindow(NamedTuple):
    """A window of a scene, on the device of the network."""

    image: Tensor
    """Band values (1, C, h, w), float32, filled where there is no data."""
    valid: Tensor
    """Which pixels hold data (1, h, w), bool; some do."""


class Adaptation(Protocol):
    """A way to adapt a network to a scene in one pass over some of its windows."""

    share: float
    """How far the network goes from the trained (0) to the scene's (1) unless the settings say it."""

    def describe(self, share: float) -> str:
        """What is done, for notices, e.g. "its statistics are 0.1 × the scene's"."""
        ...

    def check(self, network: nn.Module) -> None:
        """Refuse a network that has nothing to adapt.

        Raises:
            ModelError: with the reason, and what to do instead.
        """
        ...

    def adapt(self, network: nn.Module, windows: Iterable[SceneWindow], share: float) -> Mapping[str, Tensor]:
        """The entries of the network's state dict that become others, the same for the same windows in the same order.

        Only pixels with data count.

        Args:
            network: a copy in evaluation mode that may be changed: (B, C, H, W) band values -> (B, K, H, W) logits.
            windows: windows of the scene, to be passed over once; none for a scene without data, which leaves all
                entries as they were.
            share: how far the entries go from the trained ones; 0 leaves them as they are, to the last bit.
        """
        ...
