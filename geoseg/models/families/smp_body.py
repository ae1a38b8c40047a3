"""The networks of segmentation-models-pytorch as bodies. Importing this imports smp and timm.

In: a NetworkSpec. Out: a body whose weights have smp's names.
"""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from geoseg.core.errors import ModelError, did_you_mean, shown
from geoseg.models.families.any_encoder import cannot_build, check_encoder
from geoseg.models.families.body import Features
from geoseg.models.families.combinations import check_combination, encoder_arguments, sides_of, whole_stride
from geoseg.models.families.encoder_body import EncoderBody
from geoseg.models.families.smp_fused import fuse_layers
from geoseg.models.families.timm_names import OVERLAY, TIMM
from geoseg.models.window_padding import LEAST_PX, Sides
from geoseg.spec import NetworkSpec
from geoseg.spec.arguments import EncoderArguments, NetworkArguments

DPT_STRIDE = 32
"""Stride of the coarsest map of a DPT."""


class SmpBody(EncoderBody):
    """A network of smp, its parts under smp's names."""

    def __init__(self, model: Any, sides: Sides):
        """Take the parts of a network of smp, which takes images of these sides."""
        head = model.segmentation_head
        first = next(module for module in head.modules() if isinstance(module, nn.Conv2d))
        super().__init__(model.encoder, model.decoder, head, first.in_channels)
        self._sides = sides

    @property
    def sides(self) -> Sides:
        """Multiples of the encoder's stride, except for a U-Net, which resizes each map to the next."""
        return self._sides

    def decode(self, features: Features) -> Tensor:
        """The input of the head (B, L, h, w)."""
        decoded: Tensor = self.decoder(features.maps, *features.tokens)
        return decoded


def _sides(model: Any, encoder: str) -> Sides:
    """Sides of the images that a network of smp takes: whole strides of its encoder, of which some need several.

    A U-Net resizes each map to the next, and takes any that its encoder takes. PAN pools its last map three times by
    two, DPT reduces maps of tokens to a stride of 32.
    """
    stride = whole_stride(encoder, model.encoder.output_stride)
    if isinstance(model, smp.DPT):
        return Sides(max(stride, DPT_STRIDE))
    if isinstance(model, smp.PAN):
        return Sides(stride, least=8 * stride)
    return (
        Sides(stride, least=max(stride, LEAST_PX))
        if model.requires_divisible_input_shape
        else sides_of(encoder, stride)
    )


class TransformerBody(SmpBody):
    """A network whose encoder also returns the tokens of a transformer."""

    def encode(self, image: Tensor) -> Features:
        """Features of normalised values (B, C, H, W)."""
        maps, tokens = self.encoder(image)
        return Features(maps, (tokens,))


BODIES = {"dpt": TransformerBody}
"""Bodies of the architectures whose decoders take more than maps."""


def build(network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None = None) -> SmpBody:
    """Build a network with fresh weights; those of the encoder pretrained if `encoder_weights` names a tag.

    Raises:
        ModelError: if the encoder or an argument is unknown, or they don't fit together.
    """
    check_encoder(network.encoder)
    check_combination(network)
    _check_arguments(network)
    try:
        model = smp.create_model(
            network.architecture,
            network.encoder,
            encoder_weights=encoder_weights,
            in_channels=bands,
            classes=classes,
            **encoder_arguments(network.encoder) | network.arguments,
        )
    except Exception as error:  # smp and timm raise whatever their arguments lead to
        raise cannot_build(network, error) from None
    fuse_layers(model)
    return BODIES.get(network.architecture.lower(), SmpBody)(model, _sides(model, network.encoder))


def arguments_of(architecture: str) -> set[str]:
    """Names of the arguments that an architecture takes in a spec, without those of timm's encoders."""
    kind = smp.MODEL_ARCHITECTURES_MAPPING[architecture.lower()]
    return set(inspect.signature(kind).parameters) & set(get_type_hints(NetworkArguments))


def _check_arguments(network: NetworkSpec) -> None:
    """Refuse arguments that smp would ignore, or pass on to timm unchecked."""
    if not network.arguments:
        return
    known = arguments_of(network.architecture)
    known |= {"decoder_use_batchnorm"} if "decoder_use_norm" in known else set()
    known |= {*get_type_hints(EncoderArguments), OVERLAY} if network.encoder.startswith(TIMM) else set()
    for name in network.arguments:
        if name not in known:
            what = f"{network.architecture} {network.encoder}".strip()
            listed = ", ".join(sorted(known - {OVERLAY})) or "none"
            raise ModelError(f"{what} has no argument {shown(name)}{did_you_mean(name, known)}; it has: {listed}")
