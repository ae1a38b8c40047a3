"""Which axes of a network's weights have entries for each band or class. In: a NetworkSpec. Out: axes by weight."""

from __future__ import annotations

from typing import NamedTuple

import torch

from geoseg.models.families.building import build_body
from geoseg.models.meta_network import meta_device
from geoseg.spec import NetworkSpec


class Axis(NamedTuple):
    """How an axis of a weight depends on bands and classes."""

    per_band: int
    """Entries for each band."""
    per_class: int
    """Entries for each class, which lie together; those of classes come first."""


def axes_of(network: NetworkSpec, bands: int, classes: int) -> dict[str, list[Axis]]:
    """The axes of all weights of a network's body, found by one more band and by one more class.

    Sizes alone don't suffice: an inner layer may have as many channels as there are bands.

    Raises:
        ModelError: if the network cannot be built.
    """
    own, more_bands, more_classes = (
        shapes_of(network, *counts) for counts in ((bands, classes), (bands + 1, classes), (bands, classes + 1))
    )
    return {
        name: [Axis(band - size, each - size) for size, band, each in zip(*of_one, strict=True)]
        for name, of_one in ((name, (own[name], more_bands[name], more_classes[name])) for name in own)
    }


def shapes_of(network: NetworkSpec, bands: int, classes: int) -> dict[str, torch.Size]:
    """Shapes of the weights of a network's body.

    Raises:
        ModelError: if the network cannot be built.
    """
    with meta_device():
        body = build_body(network, bands, classes, fresh=False)
    return {name: tensor.shape for name, tensor in body.state_dict().items()}
