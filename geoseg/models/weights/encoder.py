"""Pretrained weights of an encoder, loaded into a network.

In: a fresh network, and a tag or a file. The network is changed in place.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from geoseg.core.errors import ModelError
from geoseg.models.families.building import family_of
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.files import by_own_names, read_weights
from geoseg.spec import ModelSpec
from geoseg.spec.train import WEIGHT_FILES


def load_encoder_weights(network: SegmentationNetwork, spec: ModelSpec, weights: str) -> None:
    """Load pretrained weights into the network's encoder.

    The first convolution is adapted to the number of bands as smp and timm do it: its kernels are repeated band by
    band, and scaled so that the response to equal bands stays the same.

    Args:
        network: built by `build_network(spec)`.
        spec: the network's spec.
        weights: imagenet, another tag of smp or timm, or a file (.safetensors, .pth, .pt) of timm's or smp's weights.

    Raises:
        ModelError: if the network has no encoder, the tag is unknown, the weights cannot be downloaded or read, or they
            are not those of this encoder.
    """
    encoder = encoder_of(network)
    family = family_of(spec.network)
    if Path(weights).suffix in WEIGHT_FILES:
        path, wanted = Path(weights), encoder.state_dict()
        given = read_weights(path)
        found = by_own_names(wanted, given, spec, path) or family.foreign_weights(encoder, spec, given, path)
    else:
        found = family.tagged_weights(encoder, spec, weights)
    encoder.load_state_dict(encoder.state_dict() | dict(found))


def encoder_of(network: SegmentationNetwork) -> nn.Module:
    """The network's encoder.

    Raises:
        ModelError: if it has none.
    """
    encoder = network.body.encoder
    if not any(True for _ in encoder.parameters()):
        raise ModelError(
            "this network has no encoder: choose another architecture, or leave out encoder_weights, frozen_epochs and "
            "loss.auxiliary"
        )
    return encoder
