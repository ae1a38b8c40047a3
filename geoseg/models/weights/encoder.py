"""An encoder that starts from pretrained weights.

In: a fresh network, and a tag or a file. The network is changed in place. Knows nothing of training.
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
    """Give the network's encoder pretrained weights.

    A first convolution made for other bands is adapted as smp and timm do it: its kernels repeat in turn, band by band,
    scaled so that equal bands give the response that they gave before.

    Args:
        network: as `build_network(spec)` makes it.
        spec: what the network is.
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
