"""The networks of segmentation-models-pytorch as bodies. Importing this imports smp and timm.

In: a NetworkSpec. Out: a body whose weights have smp's names; or the weights of a pretrained encoder.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.core.files import one_line
from geoseg.core.quiet import quiet
from geoseg.models.families.body import Body, Features
from geoseg.models.families.timm_sources import TIMM, Source, check_connection, find_source, is_timm
from geoseg.models.weights.files import lacking, missing
from geoseg.spec import ModelSpec, NetworkSpec
from geoseg.spec.arguments import EncoderArguments, NetworkArguments

OVERLAY = "pretrained_cfg_overlay"
"""Argument of timm with which geoseg loads weights from a file; not allowed in a spec."""


class SmpBody(Body):
    """A network of smp, its parts under smp's names."""

    def __init__(self, model: Any):
        """Take the parts of a network of smp."""
        super().__init__()
        self.encoder = model.encoder
        self.decoder = model.decoder
        self.segmentation_head = model.segmentation_head
        self._stride = model.encoder.output_stride if model.requires_divisible_input_shape else 1

    @property
    def head(self) -> nn.Module:
        """Turns the output of `decode` (B, L, h, w) into logits (B, K, H, W)."""
        head: nn.Module = self.segmentation_head
        return head

    @property
    def channels(self) -> int:
        """Channels L of the output of `decode`."""
        return next(module for module in self.head.modules() if isinstance(module, nn.Conv2d)).in_channels

    @property
    def stages(self) -> Sequence[int]:
        """Channels of the maps of `encode`: the image, then each stage, some of them empty."""
        stages: Sequence[int] = self.encoder.out_channels  # type: ignore[assignment]  # an attribute of smp's encoders
        return stages

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        self._check_sides(image)
        return Features(self.encoder(image))

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, h, w)."""
        decoded: Tensor = self.decoder(features.maps, *features.tokens)
        return decoded

    def _check_sides(self, image: Tensor) -> None:
        height, width = image.shape[-2:]
        if height % self._stride or width % self._stride:
            raise ValueError(f"its sides must be multiples of {self._stride} pixels")


class TransformerBody(SmpBody):
    """A network whose encoder also returns the tokens of a transformer."""

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        self._check_sides(image)
        maps, tokens = self.encoder(image)
        return Features(maps, (tokens,))


BODIES = {"dpt": TransformerBody}
"""Bodies of the architectures whose decoders take more than maps."""


def build(network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None = None) -> SmpBody:
    """Build a network with fresh weights; those of the encoder pretrained if `encoder_weights` names a tag.

    Raises:
        ModelError: if the encoder or an argument is unknown, or they don't fit together.
    """
    _check_encoder(network.encoder)
    _check_arguments(network)
    try:
        model = smp.create_model(
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
    return BODIES.get(network.architecture.lower(), SmpBody)(model)


def tagged_weights(encoder: nn.Module, spec: ModelSpec, tag: str) -> dict[str, Tensor]:
    """Pretrained weights of smp or timm, downloaded unless they are in the cache.

    Raises:
        ModelError: if there are none of that name, or they cannot be downloaded.
    """
    source = find_source(encoder, spec.network.encoder, tag)
    try:
        check_connection(source)
        return _pretrained(spec, source, {})
    except ModelError:
        raise
    except Exception as error:  # huggingface_hub has changed its HTTP client twice, and its errors with it
        raise ModelError(
            f"cannot download the weights {source.tag} of {source.encoder}: {one_line(error)}: on a connected "
            f"machine download {source.place}, copy it here, and give its path as encoder_weights; or leave "
            "encoder_weights out"
        ) from error


def timm_weights(encoder: nn.Module, spec: ModelSpec, given: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
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
        traced = _pretrained(spec, source, {OVERLAY: {"state_dict": marked}})
        found = _pretrained(spec, source, {OVERLAY: {"state_dict": dict(given)}})
    except (ModelError, IndexError, AttributeError):
        name = spec.network.encoder
        raise ModelError(f"{path} holds other weights than {name} has: give that encoder's weights") from None
    unset = missing(traced, {name: tensor for name, tensor in traced.items() if tensor.isnan().any()})
    if unset:
        raise lacking(path, spec, unset)
    return found


def _pretrained(spec: ModelSpec, source: Source, arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Pretrained weights of a model's encoder, as smp and timm load them.

    The whole network is built, because depth and dilation of its encoder depend on the architecture.
    """
    if spec.network.architecture == "dpt":  # its encoder has timm's classifier, whose size changes with the tag
        arguments = arguments | {"num_classes": 0}
    donor = spec.network.model_copy(update={"encoder": source.encoder, "arguments": spec.network.arguments | arguments})
    with quiet("timm"):
        built = build(donor, len(spec.bands), len(spec.classes), source.tag)
    return dict(built.encoder.state_dict())


def _check_encoder(name: str) -> None:
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


def _check_arguments(network: NetworkSpec) -> None:
    """Refuse arguments that smp would ignore, or pass on to timm unchecked."""
    if not network.arguments:
        return
    kind = smp.MODEL_ARCHITECTURES_MAPPING[network.architecture.lower()]
    known = set(inspect.signature(kind).parameters) & set(get_type_hints(NetworkArguments))
    known |= {"decoder_use_batchnorm"} if "decoder_use_norm" in known else set()
    known |= {*get_type_hints(EncoderArguments), OVERLAY} if network.encoder.startswith(TIMM) else set()
    for name in network.arguments:
        if name not in known:
            what = f"{network.architecture} {network.encoder}".strip()
            listed = ", ".join(sorted(known - {OVERLAY})) or "none"
            raise ModelError(f"{what} has no argument {shown(name)}{did_you_mean(name, known)}; it has: {listed}")
