"""Networks of segmentation-models-pytorch with its own encoders or timm's. In: a NetworkSpec. Out: the network."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import segmentation_models_pytorch as smp
import timm
from torch import nn

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.core.files import one_line
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import EncoderArguments, NetworkArguments

TIMM = "tu-"
"""How the names of timm's encoders begin."""
OVERLAY = "pretrained_cfg_overlay"
"""Argument of timm with which geoseg itself loads weights from a file; no spec can hold it."""


def build_architecture(network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None) -> nn.Module:
    """Build a network (B, bands, H, W) -> (B, classes, H, W): an encoder, a decoder and a segmentation head.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    _check_names(network)
    try:
        model: nn.Module = smp.create_model(
            network.architecture,
            network.encoder,
            encoder_weights=encoder_weights,
            in_channels=bands,
            classes=classes,
            **network.arguments,
        )
    except Exception as error:  # smp and timm raise whatever their arguments lead to
        reason = shown(one_line(error), 400, quoted=False)
        raise ModelError(f"cannot build {network.architecture} with encoder {network.encoder!r}: {reason}") from None
    return model


def _check_names(network: NetworkSpec) -> None:
    """Refuse what no architecture, no encoder and no argument is called.

    timm would take a path or an address for an encoder's name, and read or ask it.
    """
    architectures = [*smp.MODEL_ARCHITECTURES_MAPPING, "pointwise"]
    if network.architecture.lower() not in architectures:
        hint = did_you_mean(network.architecture, architectures) or ":"
        raise ModelError(
            f"unknown architecture {shown(network.architecture)}{hint} known are {', '.join(architectures)}"
        )
    if network.architecture != "pointwise":
        _check_encoder(network.encoder)
    _check_arguments(network)


def _check_encoder(name: str) -> None:
    if name in smp.encoders.encoders or (name.startswith(TIMM) and _is_timm_model(name.removeprefix(TIMM))):
        return
    is_timm = name.startswith(TIMM)
    known = [f"{TIMM}{model}" for model in timm.list_models()] if is_timm else smp.encoders.get_encoder_names()
    hint = did_you_mean(name, known) or ":"
    raise ModelError(
        f"unknown encoder {shown(name)}{hint} take one of "
        "segmentation_models_pytorch, or tu-NAME with the name of a model of timm"
    )


def _is_timm_model(name: str) -> bool:
    """Whether timm has a model of exactly that name, and weights with its tag if it has one."""
    architecture, dot, _ = name.partition(".")
    return timm.is_model(architecture) and (not dot or timm.models.is_model_pretrained(name))


def _check_arguments(network: NetworkSpec) -> None:
    """Refuse arguments that would be passed over, or passed on."""
    if not network.arguments:
        return
    kind = smp.MODEL_ARCHITECTURES_MAPPING.get(network.architecture.lower())
    known = set(inspect.signature(kind).parameters) & set(get_type_hints(NetworkArguments)) if kind else set()
    known |= {"decoder_use_batchnorm"} if "decoder_use_norm" in known else set()
    if network.encoder.startswith(TIMM) and kind:
        known |= {*get_type_hints(EncoderArguments), OVERLAY}
    for name in network.arguments:
        if name not in known:
            what = f"{network.architecture} {network.encoder}".strip()
            listed = ", ".join(sorted(known - {OVERLAY})) or "none"
            raise ModelError(f"{what} has no argument {shown(name)}{did_you_mean(name, known)}; it has: {listed}")
