"""Bands and classes that weights are of, and heads fitted to the classes that are named.

In: a network and weights of its body. Out: numbers, or weights. No memory is allocated for the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from geoseg.core.errors import ModelError
from geoseg.models.weights.axes import Axis, axes_of, shapes_of
from geoseg.spec import NetworkSpec

BANDS, CLASSES = 3, 2
"""Of the network whose axes are compared with those of weights."""


@dataclass(frozen=True)
class Counts:
    """Bands and classes of weights, and where they lie."""

    bands: int | None
    """Bands that the network takes; None where no weight shows it."""
    channels: int | None
    """Channels of the head; None where no weight shows it."""
    axes: Mapping[str, Sequence[Axis]]
    """Axes by weight."""


def counts_of(network: NetworkSpec, weights: Mapping[str, Tensor]) -> Counts:
    """The bands and classes of weights, as far as the network's names are theirs.

    Raises:
        ModelError: if the network cannot be built.
    """
    own, axes = shapes_of(network, BANDS, CLASSES), axes_of(network, BANDS, CLASSES)
    known = [
        (axis, weights[name].shape[place] - own[name][place])
        for name, of_one in axes.items()
        for place, axis in enumerate(of_one)
        if name in weights and weights[name].ndim == len(of_one)
    ]
    bands = [BANDS + more // axis.per_band for axis, more in known if axis.per_band and not axis.per_class]
    channels = [CLASSES + more // axis.per_class for axis, more in known if axis.per_class and not axis.per_band]
    return Counts(bands[0] if bands else None, channels[0] if channels else None, axes)


Change = Callable[[Tensor, int], Tensor]
"""Changes a weight along an axis of classes."""


def with_channels(weights: Mapping[str, Tensor], counts: Counts, channels: Sequence[int]) -> dict[str, Tensor]:
    """Weights of the same network with some channels of its head, in this order.

    Raises:
        ModelError: if it has several weights for each class along an axis.
    """
    index = torch.tensor(channels, dtype=torch.long)
    return _changed(weights, counts, lambda tensor, axis: tensor.index_select(axis, index))


def with_background(weights: Mapping[str, Tensor], counts: Counts) -> dict[str, Tensor]:
    """Weights of the same network with a class before the only one, whose logit is 0: softmax is then its sigmoid.

    Raises:
        ModelError: if it has several weights for each class along an axis.
    """
    return _changed(weights, counts, lambda tensor, axis: torch.cat([torch.zeros_like(tensor), tensor], dim=axis))


def _changed(weights: Mapping[str, Tensor], counts: Counts, change: Change) -> dict[str, Tensor]:
    changed = dict(weights)
    for name, axes in counts.axes.items():
        for place, axis in enumerate(axes):
            if not axis.per_class or name not in changed:
                continue
            if axis.per_class > 1:
                raise ModelError(
                    f"the head has {axis.per_class} weights for each class in {name}: name all its classes"
                )
            changed[name] = change(changed[name], place)
    return changed
