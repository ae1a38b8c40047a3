"""The contract of a branch: how a network that sees more than its windows is built, and what its weights depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from geoseg.models.families.body import Body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import ModelSpec


class Branch(Protocol):
    """Builds networks of one kind: classes of `SegmentationNetwork`, which say themselves what they see and learn."""

    @property
    def parts(self) -> Mapping[str, str]:
        """Children of the network besides `normalize` and `body`, by attribute: what people call them."""
        ...

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> SegmentationNetwork:
        """Join the branch to a network's body, (B, C, H, W) -> (B, K, H, W).

        Until it is trained, it changes no bit of what the body answers to windows alone. Without `fresh`, its weights
        are about to be replaced, and may be any.

        Raises:
            ModelError: if a network of the branch cannot be built.
        """
        ...

    def meaning(self, spec: ModelSpec) -> object:
        """What the branch's weights depend on: those of models with equal ones are exchangeable."""
        ...
