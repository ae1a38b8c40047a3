"""`geoseg models`: the networks there are, as plain values; and whether pretrained weights can be had."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from geoseg.core.errors import GeosegError
from geoseg.models.families import FAMILIES, parameter_counts
from geoseg.models.families.argument_docs import arguments_in
from geoseg.models.families.body import Family
from geoseg.models.families.building import build_body, family_of
from geoseg.models.meta_network import meta_device
from geoseg.spec import NetworkSpec, parse_spec
from geoseg.spec.arguments import EncoderArguments

PRETRAINED = "imagenet"
"""Tag of the weights that are looked for."""


def list_networks() -> list[dict[str, Any]]:
    """What is known of each architecture, those of other packages included; one that is broken has an error instead."""
    return [_listed(name) for name in FAMILIES]


def describe_network(name: str) -> dict[str, Any]:
    """One architecture with its arguments and an example config; a network of the usual size is built without memory.

    Raises:
        SpecError: if that is no name.
        ModelError: if there is none of that name, or its package is broken.
    """
    family, spec = _family_and_usual(name)
    with meta_device():
        body = build_body(spec, parameter_counts.BANDS, parameter_counts.CLASSES)
    sides = body.sides
    return {
        **_about(name.lower()),
        "parameters": sum(weights.numel() for weights in body.parameters()),
        "stride": sides.multiple,
        "least_side": sides.least,
        "arguments": [asdict(argument) for argument in family.arguments(name.lower())],
        "encoder_arguments": [asdict(argument) for argument in arguments_in(EncoderArguments)] if spec.encoder else [],
        "example": example_config(spec),
    }


def reach_weights(name: str, encoder: str | None = None) -> dict[str, str]:
    """Where the pretrained weights of an encoder are, after a request for them.

    Args:
        name: an architecture.
        encoder: the encoder; None takes that of the usual size.

    Raises:
        SpecError: if that is no name.
        ModelError: if there are none, or they cannot be reached.
    """
    family, spec = _family_and_usual(name)
    if encoder is not None:
        spec = spec.model_copy(update={"encoder": encoder})
    family.check(spec)
    return {"network": name, "encoder": spec.encoder, "weights": family.reach_weights(spec, PRETRAINED)}


def example_config(spec: NetworkSpec) -> dict[str, Any]:
    """The part of a training config that names a network."""
    network = spec.model_dump(mode="json", exclude_defaults=True)
    return {"network": network} | ({"encoder_weights": PRETRAINED} if spec.encoder else {})


def _family_and_usual(name: str) -> tuple[Family, NetworkSpec]:
    family = family_of(parse_spec(NetworkSpec, {"architecture": name}, source="the network"))
    return family, family.usual(name.lower())


def _listed(name: str) -> dict[str, Any]:
    try:
        return _about(name)
    except GeosegError as error:
        return {"name": name, "error": str(error)}
    except Exception as error:  # a family of another package may raise anything
        return {"name": name, "error": f"{FAMILIES.group} {name}: {error}: mend that package"}


def _about(name: str) -> dict[str, Any]:
    """What a family says of an architecture, and the weights of the usual size, if they are counted."""
    family = FAMILIES.get(name)
    info, spec = family.info(name), family.usual(name)
    return {
        "name": name,
        **asdict(info),
        "bands": "any",
        "usual_encoder": spec.encoder,
        "parameters": parameter_counts.PARAMETERS.get(name),
    }
