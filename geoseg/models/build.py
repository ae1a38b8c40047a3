"""Networks by name. In: a ModelSpec. Out: a module that takes band values (B, C, H, W) and gives logits (B, K, H, W).

Knows tensors, never files or windows.
"""

from __future__ import annotations

from geoseg.models.branches import BRANCHES
from geoseg.models.families.building import build_body
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import ModelSpec


def build_network(spec: ModelSpec, *, fresh: bool = True) -> SegmentationNetwork:
    """Build the network a spec names, with fresh weights, or without `fresh` with any, which are about to be replaced.

    It is of the class that the spec's branch makes, and starts as the network without the branch.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    body = build_body(spec.network, len(spec.bands), len(spec.classes), fresh=fresh)
    return BRANCHES.get(spec.branch.kind).build(spec, Normalize(spec.normalization), body, fresh=fresh)
