"""Networks by name. In: a ModelSpec. Out: a module that takes band values (B, C, H, W) and gives logits (B, K, H, W).

Knows tensors, never files or windows.
"""

from __future__ import annotations

from typing import Protocol

import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn

from geoseg.errors import ModelError, did_you_mean
from geoseg.files import one_line
from geoseg.spec import ModelSpec, NetworkSpec, NormalizationSpec


class Segmenter(Protocol):
    """Whatever classifies windows: a bundle's module, an ensemble, a test's fake."""

    def __call__(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Turn band values (B, C, H, W), float32, into logits (B, K, H, W)."""
        ...


class Normalize(nn.Module):
    """(value - mean) / std per band; mean and std travel with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: NormalizationSpec):
        super().__init__()
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Normalise band values (B, C, H, W)."""
        return (image.float() - self.mean).div_(self.std)


class SegmentationNetwork(nn.Module):
    """Normalisation, then a network: band values in, logits out."""

    def __init__(self, normalize: Normalize, body: nn.Module):
        super().__init__()
        self.normalize = normalize
        self.body = body

    def forward(self, image: Tensor, context: Tensor | None = None) -> Tensor:
        """Classify band values (B, C, H, W) as logits (B, K, H, W); `context` is for networks that have that branch."""
        logits: Tensor = self.body(self.normalize(image))
        return logits


def build_network(spec: ModelSpec, *, encoder_weights: str | None = None) -> SegmentationNetwork:
    """Build the network a spec names, with fresh weights (or an encoder's pretrained ones).

    Raises:
        ModelError: if the architecture or the encoder is unknown, or they don't fit together.
    """
    body = _build_body(spec.network, bands=len(spec.bands), classes=len(spec.classes), encoder_weights=encoder_weights)
    return SegmentationNetwork(Normalize(spec.normalization), body)


def _build_body(network: NetworkSpec, bands: int, classes: int, encoder_weights: str | None) -> nn.Module:
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
