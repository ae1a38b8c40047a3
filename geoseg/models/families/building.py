"""Networks without their normalisation, built by the family of their architecture."""

from __future__ import annotations

from geoseg.core.errors import ModelError
from geoseg.models.families import FAMILIES
from geoseg.models.families.body import Body, Family
from geoseg.models.padding import replicate_edges
from geoseg.spec import NetworkSpec


def family_of(network: NetworkSpec) -> Family:
    """The family of a network's architecture.

    Raises:
        ModelError: if no family has an architecture of that name.
    """
    try:
        return FAMILIES.get(network.architecture.lower())
    except ModelError as error:
        if network.architecture.lower() in FAMILIES:  # of a package that is broken
            raise
        raise ModelError(f"{error} (a network of another package needs that package: install it)") from None


def check_network(network: NetworkSpec) -> None:
    """Refuse a network that is known to be impossible, without building it.

    Raises:
        ModelError: with the reason, and what to take instead.
    """
    family_of(network).check(network)


def check_context(network: NetworkSpec) -> None:
    """Refuse a network that cannot carry a branch for the surroundings of windows, nor be the network of one.

    Raises:
        ModelError: with what to take instead.
    """
    name = network.architecture.lower()
    if not family_of(network).info(name).takes_context:
        raise ModelError(f"{name} takes no context: leave out context, or take another network, e.g. upernet")


def build_body(network: NetworkSpec, bands: int, classes: int, *, fresh: bool = True) -> Body:
    """Build a network without its normalisation: normalised values (B, C, H, W) -> logits (B, K, H, W).

    In evaluation mode it pads by replication (see `geoseg.models.padding`). Without `fresh`, weights may be arbitrary:
    a state dict is loaded next.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    family = family_of(network)
    body = (family.build if fresh else family.blank)(network, bands, classes)
    replicate_edges(body)
    return body
