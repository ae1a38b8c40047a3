"""A network without its normalisation, and where it is cut in two: what it sees, and how it tells classes from that.

In: a NetworkSpec. Out: a network of segmentation-models-pytorch, which is an encoder, a decoder and a segmentation
head; or a single convolution, which is a head with nothing before it.
"""

from __future__ import annotations

import segmentation_models_pytorch as smp
import timm
from torch import Tensor, nn

from geoseg.errors import ModelError, did_you_mean
from geoseg.files import one_line
from geoseg.spec import NetworkSpec


def build_body(network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None) -> nn.Module:
    """Build a network without its normalisation: normalised values (B, C, H, W) -> logits (B, K, H, W).

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    if network.architecture == "pointwise":
        return nn.Conv2d(bands, classes, kernel_size=1)
    try:
        model: nn.Module = smp.create_model(
            network.architecture,
            network.encoder,
            encoder_weights=encoder_weights,
            in_channels=bands,
            classes=classes,
            **network.arguments,
        )
    except (KeyError, ValueError, RuntimeError, TypeError, NotImplementedError, AssertionError) as error:
        _check_names(network)
        raise ModelError(
            f"cannot build {network.architecture} with encoder {network.encoder!r}: {one_line(error)}"
        ) from None
    return model


def decode(body: nn.Module, image: Tensor) -> Tensor:
    """What a network gives to its segmentation head (B, L, h, w), for a normalised image (B, C, H, W)."""
    if isinstance(body, nn.Conv2d):
        return image
    body.check_input_shape(image)  # type: ignore[operator]  # methods and modules of smp's networks
    features = body.encoder(image)  # type: ignore[operator]
    # The encoders of transformers of one scale also give their tokens.
    parts = features if isinstance(features, tuple) else (features,)
    decoded: Tensor = body.decoder(*parts)  # type: ignore[operator]
    return decoded


def head_of(body: nn.Module) -> nn.Module:
    """The part of a network that makes logits (B, K, H, W) of what it has seen.

    Raises:
        ModelError: if it has none.
    """
    head = body if isinstance(body, nn.Conv2d) else getattr(body, "segmentation_head", None)
    if not isinstance(head, nn.Module):
        raise ModelError("this network has no segmentation head, before which a context is joined: leave out context")
    return head


def decoder_channels(body: nn.Module) -> int:
    """Channels of what a network gives to its segmentation head.

    Raises:
        ModelError: if it has none.
    """
    first = next((module for module in head_of(body).modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ModelError("this network's segmentation head has no convolution: leave out context")
    return first.in_channels


def _check_names(network: NetworkSpec) -> None:
    """Refuse names that nothing has."""
    architectures = [*smp.MODEL_ARCHITECTURES_MAPPING, "pointwise"]
    if network.architecture.lower() not in architectures:
        hint = did_you_mean(network.architecture, architectures) or ":"
        raise ModelError(f"unknown architecture {network.architecture!r}{hint} known are {', '.join(architectures)}")
    is_timm = network.encoder.startswith("tu-")
    encoders = [f"tu-{name}" for name in timm.list_models()] if is_timm else smp.encoders.get_encoder_names()
    if network.encoder.split(".")[0] not in encoders:
        hint = did_you_mean(network.encoder, encoders) or ":"
        raise ModelError(
            f"unknown encoder {network.encoder!r}{hint} take one of "
            "segmentation_models_pytorch, or tu-NAME with the name of a model of timm"
        )
