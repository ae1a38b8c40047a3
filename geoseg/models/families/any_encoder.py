"""Encoders of smp and timm, for networks that take any of them, and their pretrained weights. Importing this imports
both libraries.

In: the name of an encoder. Out: the encoder; or the state dict of a pretrained one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.core.files import one_line
from geoseg.core.quiet import quiet
from geoseg.models.families.combinations import check_combination, encoder_arguments
from geoseg.models.families.encoders import FOR_SMP
from geoseg.models.families.smp_fused import fuse_layers
from geoseg.models.families.timm_names import OVERLAY, TIMM
from geoseg.models.families.timm_sources import Source, check_connection, find_source, is_timm
from geoseg.models.weights.files import lacking, missing
from geoseg.spec import ModelSpec, NetworkSpec

smp.encoders.encoders.update(FOR_SMP)

Donor = Callable[[NetworkSpec, int, str | None], nn.Module]
"""Builds the encoder of a network for so many bands, with the pretrained weights of a tag. The arguments of the network
may hold `OVERLAY`."""


def build_encoder(
    network: NetworkSpec,
    bands: int,
    tag: str | None = None,
    *,
    depth: int = 5,
    output_stride: int = 32,
    more: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the encoder that a network names: (B, bands, H, W) -> maps of `depth` stages, the image before them.

    Args:
        network: names the encoder.
        bands: bands of the image.
        tag: pretrained weights; None for fresh ones.
        depth: stages; stage i has a stride of 2**i.
        output_stride: stride of the last stage, from which on strides are replaced by dilation.
        more: arguments of timm's model, over those with which it takes images of any size.

    Raises:
        ModelError: if the encoder is unknown, or cannot be built so.
    """
    check_encoder(network.encoder)
    check_combination(network)
    arguments = encoder_arguments(network.encoder) | dict(more or {})
    try:
        encoder: nn.Module = smp.encoders.get_encoder(
            network.encoder, in_channels=bands, depth=depth, weights=tag, output_stride=output_stride, **arguments
        )
    except Exception as error:  # smp and timm raise whatever their arguments lead to
        raise cannot_build(network, error) from None
    fuse_layers(encoder)
    return encoder


def cannot_build(network: NetworkSpec, error: Exception) -> ModelError:
    """The error for a network that smp or timm cannot build."""
    reason = shown(one_line(error), 400, quoted=False)
    return ModelError(f"cannot build {network.architecture} with encoder {network.encoder!r}: {reason}")


def tagged_weights(encoder: nn.Module, spec: ModelSpec, tag: str, donor: Donor) -> dict[str, Tensor]:
    """Pretrained weights of smp or timm, downloaded unless they are in the cache.

    Raises:
        ModelError: if there are none of that name, or they cannot be downloaded.
    """
    source = find_source(encoder, spec.network.encoder, tag)
    try:
        check_connection(source)
        if source.encoder in FOR_SMP:
            return _downloaded(encoder, source)
        return _pretrained(spec, source, {}, donor)
    except ModelError:
        raise
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        raise ModelError(
            f"cannot download the weights {source.tag} of {source.encoder}: {one_line(error)}: on a connected "
            f"machine download {source.place}, copy it here, and give its path as encoder_weights; or leave "
            "encoder_weights out"
        ) from error


def timm_weights(
    encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path, donor: Donor
) -> dict[str, Tensor]:
    """Weights with timm's own names, loaded by timm, which renames and reshapes some of them.

    timm ignores missing weights. So they are also loaded with all values replaced by NaN: a weight that is finite then
    is missing in the file.

    Raises:
        ModelError: if they are not those of this encoder, or it is none of timm's.
    """
    if not is_timm(encoder):
        raise lacking(path, spec, missing(encoder.state_dict(), given))
    source = Source(f"{TIMM}{encoder.name}", "imagenet")
    marked = {name: torch.full_like(t, torch.nan) if t.is_floating_point() else t for name, t in given.items()}
    try:
        traced = _pretrained(spec, source, {OVERLAY: {"state_dict": marked}}, donor)
        found = _pretrained(spec, source, {OVERLAY: {"state_dict": dict(given)}}, donor)
    except (ModelError, IndexError, AttributeError):
        name = spec.network.encoder
        raise ModelError(f"{path} holds other weights than {name} has: give that encoder's weights") from None
    unset = missing(traced, {name: tensor for name, tensor in traced.items() if tensor.isnan().any()})
    if unset:
        raise lacking(path, spec, unset)
    return found


def _pretrained(spec: ModelSpec, source: Source, arguments: dict[str, Any], donor: Donor) -> dict[str, Tensor]:
    """Pretrained weights of a model's encoder, as smp and timm load them.

    The encoder is built by the network's family, because its depth and dilation depend on the architecture.
    """
    named = spec.network.model_copy(update={"encoder": source.encoder, "arguments": spec.network.arguments | arguments})
    with quiet("timm"):
        built = donor(named, len(spec.bands), source.tag)
    return dict(built.state_dict())


def _downloaded(encoder: nn.Module, source: Source) -> dict[str, Tensor]:
    """Pretrained weights of an encoder of geoseg's own, from the file at a source's address."""
    assert source.url is not None  # which all of them have
    given = torch.hub.load_state_dict_from_url(source.url, map_location="cpu", progress=False, check_hash=True)
    return {name: given[name] for name in encoder.state_dict()}


def check_encoder(name: str) -> None:
    """Refuse unknown names: timm would open a path or request a URL that is given as a name."""
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
