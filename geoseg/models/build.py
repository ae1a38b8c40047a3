"""Networks by name. In: a ModelSpec. Out: a module that takes band values (B, C, H, W) and gives logits (B, K, H, W).

Knows tensors, never files or windows.
"""

from __future__ import annotations

from geoseg.models.context import ContextSegmenter, build_branch
from geoseg.models.families.building import build_body
from geoseg.models.refine import RefineBranch, RefiningSegmenter
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.spec import ModelSpec


def build_network(spec: ModelSpec, *, fresh: bool = True) -> SegmentationNetwork:
    """Build the network a spec names, with fresh weights, or without `fresh` with any, which are about to be replaced.

    The result is a `ContextSegmenter` if the spec has a context; its branch then starts without effect. It is a
    `RefiningSegmenter` if the spec refines.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    body = build_body(spec.network, len(spec.bands), len(spec.classes), fresh=fresh)
    normalize = Normalize(spec.normalization)
    if spec.refine is not None:
        return RefiningSegmenter(normalize, body, RefineBranch(spec.refine, len(spec.classes)))
    if spec.context is None:
        return SegmentationNetwork(normalize, body)
    return ContextSegmenter(normalize, body, build_branch(spec, normalize, body, fresh=fresh))
