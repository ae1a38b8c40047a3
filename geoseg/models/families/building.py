"""A network without its normalisation, built by the family that its architecture is of."""

from __future__ import annotations

from geoseg.core.errors import ModelError
from geoseg.models.families import FAMILIES
from geoseg.models.families.body import Body, Family
from geoseg.models.padding import replicate_edges
from geoseg.spec import NetworkSpec


def family_of(network: NetworkSpec) -> Family:
    """The family that builds a network.

    Raises:
        ModelError: if none has an architecture of that name.
    """
    try:
        return FAMILIES.get(network.architecture.lower())
    except ModelError as error:
        if network.architecture.lower() in FAMILIES:  # of a package that is broken
            raise
        raise ModelError(f"{error} (a network of another package needs that package: install it)") from None


def build_body(network: NetworkSpec, bands: int, classes: int, *, fresh: bool = True) -> Body:
    """Build a network without its normalisation: normalised values (B, C, H, W) -> logits (B, K, H, W).

    In evaluation mode it pads by replication (see `geoseg.models.padding`). Unless it is fresh, its
    weights are about to be replaced, and may be any.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    family = family_of(network)
    body = (family.build if fresh else family.blank)(network, bands, classes)
    replicate_edges(body)
    return body
