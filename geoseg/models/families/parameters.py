"""Arguments of the networks that are written here: those of a network itself, and those of timm's encoders.

In: a NetworkSpec. Out: both, validated. Bundles from unknown people name them, so all are bounded.
"""

from __future__ import annotations

from typing import Any, get_type_hints

from geoseg.core.errors import ModelError, SpecError, did_you_mean, shown
from geoseg.models.families.timm_names import OVERLAY, TIMM
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import EncoderArguments
from geoseg.spec.base import Spec, SpecT, parse_spec


class _TimmArguments(Spec):
    """Arguments of a timm model."""

    arguments: EncoderArguments


def parse_arguments(network: NetworkSpec, kind: type[SpecT]) -> SpecT:
    """The arguments of a network that takes no others than its own, as an instance of their spec.

    Raises:
        ModelError: if one is unknown, with the nearest; or has a value that is out of bounds.
    """
    return _parsed(network, kind, dict(network.arguments), kind.known_settings())


def split_arguments(network: NetworkSpec, kind: type[SpecT]) -> tuple[SpecT, dict[str, Any]]:
    """The arguments of a network on any encoder: its own as an instance of their spec, and those of timm's model.

    Raises:
        ModelError: if one is unknown, with the nearest; or has a value that is out of bounds.
    """
    given: dict[str, Any] = dict(network.arguments)
    of_encoder = {*get_type_hints(EncoderArguments), OVERLAY} if network.encoder.startswith(TIMM) else set()
    of_encoder -= set(kind.known_settings())
    own = {name: value for name, value in given.items() if name not in of_encoder}
    known = [*kind.known_settings(), *sorted(of_encoder - {OVERLAY})]
    rest = {name: value for name, value in given.items() if name in of_encoder}
    _parsed(network, _TimmArguments, {"arguments": {n: v for n, v in rest.items() if n != OVERLAY}}, ["arguments"])
    return _parsed(network, kind, own, known), rest


def _parsed(network: NetworkSpec, kind: type[SpecT], given: dict[str, Any], known: list[str]) -> SpecT:
    what = f"{network.architecture} {network.encoder}".strip()
    for name in given:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise ModelError(f"{what} has no argument {shown(name)}{did_you_mean(name, known)}; it has: {listed}")
    try:
        return parse_spec(kind, given, source=f"network.arguments of {what}")
    except SpecError as error:
        raise ModelError(str(error)) from None
