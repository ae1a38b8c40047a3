"""A network without its normalisation, and where it is cut in two: what it sees, and how it tells classes from that.

In: a NetworkSpec. Out: an encoder, a decoder and a segmentation head; or a single convolution, which is a head with
nothing before it.
"""

from __future__ import annotations

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.padding import replicate_edges
from geoseg.models.resnet_unet import resnet_unet
from geoseg.spec import NetworkSpec


def build_body(
    network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None, *, fresh: bool = True
) -> nn.Module:
    """Build a network without its normalisation: normalised values (B, C, H, W) -> logits (B, K, H, W).

    In evaluation mode it pads by replication (see `geoseg.models.padding`).

    Args:
        network: which one.
        bands: number of bands C.
        classes: number of classes K.
        encoder_weights: pretrained weights of the encoder, by their tag; None for fresh ones.
        fresh: whether it is to be trained from its weights; without, others will replace them, and what PyTorch alone
            can build needs no other library.

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    if network.architecture == "pointwise" and not network.arguments:
        return nn.Conv2d(bands, classes, kernel_size=1)
    model: nn.Module | None = None if fresh else resnet_unet(network, bands, classes)
    if model is None:
        from geoseg.models.architectures import build_architecture  # imports hundreds of networks, which takes seconds

        model = build_architecture(network, bands, classes, encoder_weights)
    return replicate_edges(model)


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
