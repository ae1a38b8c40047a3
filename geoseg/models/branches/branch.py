"""The contract of a branch: how a network that uses the surroundings of windows is built, and when its weights fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from geoseg.models.families.body import Body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import ModelSpec


class Branch(Protocol):
    """Builds networks of one subclass of `SegmentationNetwork`, which defines their views and their training loss."""

    @property
    def parts(self) -> Mapping[str, str]:
        """Names for messages of the network's children besides `normalize` and `body`, by attribute."""
        ...

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> SegmentationNetwork:
        """Join the branch to a network's body, (B, C, H, W) -> (B, K, H, W).

        Until it is trained, the logits of windows are bit for bit those of the body alone. Without `fresh`, weights may
        be arbitrary: a state dict is loaded next.

        Raises:
            ModelError: if a network of the branch cannot be built.
        """
        ...

    def meaning(self, spec: ModelSpec) -> object:
        """The settings that the branch's weights depend on: equal for models whose weights are exchangeable."""
        ...
