"""Pretrained weights of an encoder, loaded into a network.

In: a fresh network, and a tag or a file. The network is changed in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from torch import Tensor, nn

from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.families.building import family_of
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.weights.files import PREFIXES, VISIBLE, by_own_names, fit_bands, is_rgb, read_weights
from geoseg.models.weights.places import find_weights
from geoseg.spec import ModelSpec


def load_encoder_weights(network: SegmentationNetwork, spec: ModelSpec, weights: str) -> None:
    """Load pretrained weights into the network's encoder.

    The first convolution takes the kernels of red, green and blue for the bands of these names, see `fit_bands`. A file
    with a kernel for each of the model's bands keeps them.

    Args:
        network: built by `build_network(spec)`.
        spec: the network's spec.
        weights: imagenet, another tag of smp or timm, or a file, a folder or an address of timm's or smp's weights (see
            `find_weights`).

    Raises:
        ModelError: if the network has no encoder, the tag is unknown, the weights cannot be downloaded or read, or they
            are not those of this encoder.
    """
    encoder = encoder_of(network)
    path = find_weights(weights, spec.network)
    if path is not None:
        given = read_weights(path)
        is_of_bands = len(spec.bands) != len(VISIBLE) or any(name.startswith(PREFIXES[-1]) for name in given)
        found = by_own_names(encoder.state_dict(), given, spec, path) if is_of_bands or is_rgb(spec.bands) else {}
        found = found or _of_photographs(encoder, spec, partial(_from_file, given, path))
    else:
        found = _of_photographs(encoder, spec, partial(_from_tag, weights))
    encoder.load_state_dict(encoder.state_dict() | found)


Reader = Callable[[nn.Module, ModelSpec], Mapping[str, Tensor]]
"""Finds the weights of an encoder."""


def _from_file(given: Mapping[str, Tensor], path: Path, encoder: nn.Module, spec: ModelSpec) -> Mapping[str, Tensor]:
    own = by_own_names(encoder.state_dict(), given, spec, path)
    return own or family_of(spec.network).foreign_weights(encoder, spec, given, path)


def _from_tag(tag: str, encoder: nn.Module, spec: ModelSpec) -> Mapping[str, Tensor]:
    return family_of(spec.network).tagged_weights(encoder, spec, tag)


def _of_photographs(encoder: nn.Module, spec: ModelSpec, read: Reader) -> dict[str, Tensor]:
    """Weights that were trained on red, green and blue, adapted to the bands of a model."""
    if is_rgb(spec.bands):
        return dict(read(encoder, spec))
    rgb = spec.model_copy(update={"bands": VISIBLE})
    donor = build_network(rgb).body.encoder
    more = build_network(rgb.model_copy(update={"bands": (*rgb.bands, "more")})).body.encoder.state_dict()
    stems = {name for name, tensor in donor.state_dict().items() if tensor.shape != more[name].shape}
    found = read(donor, rgb)
    return {name: fit_bands(tensor, spec.bands) if name in stems else tensor for name, tensor in found.items()}


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
