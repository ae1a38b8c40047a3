"""No branch: a network that classifies its windows alone."""

from __future__ import annotations

from collections.abc import Mapping

from geoseg.models.families.body import Body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import ModelSpec


class Plain:
    """Adds nothing."""

    parts: Mapping[str, str] = {}

    def build(self, spec: ModelSpec, normalize: Normalize, body: Body, *, fresh: bool) -> SegmentationNetwork:
        """The network of normalisation and body."""
        return SegmentationNetwork(normalize, body)

    def meaning(self, spec: ModelSpec) -> object:
        """Always the same."""
        return ()


BRANCH = Plain()
