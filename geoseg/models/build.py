"""Networks from their specs. In: a ModelSpec. Out: a module: band values (B, C, H, W) -> logits (B, K, H, W)."""

from __future__ import annotations

from geoseg.models.arbitrary_weights import arbitrary_weights
from geoseg.models.branches import BRANCHES
from geoseg.models.families.building import build_body
from geoseg.models.padding import replicate_edges
from geoseg.models.segmentation import Normalize, SegmentationNetwork
from geoseg.models.semantic_normalization import SemanticStages
from geoseg.spec import ModelSpec


def build_network(spec: ModelSpec, *, fresh: bool = True) -> SegmentationNetwork:
    """Build the network that a spec names; the spec's branch decides its class.

    Until it is trained, a network with a branch gives the same logits as one without.

    Args:
        spec: bands, classes, architecture, branch.
        fresh: initialise the weights; False leaves them arbitrary, for a state dict that is loaded next.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    if not fresh:
        with arbitrary_weights():
            return _built(spec, fresh=False)
    return _built(spec, fresh=True)


def _built(spec: ModelSpec, *, fresh: bool) -> SegmentationNetwork:
    body = build_body(spec.network, len(spec.bands), len(spec.classes), fresh=fresh)
    if spec.network.semantic_normalization:
        semantic = SemanticStages(body, spec)
        replicate_edges(semantic)
        body.add_module("semantic", semantic)
        body.stage_losses = (semantic,)
    return BRANCHES.get(spec.branch.kind).build(spec, Normalize(spec.normalization), body, fresh=fresh)
