"""The features that a network sees in crops of imagery, a few numbers for each crop.

In: band values (N, C, h, w). Out: numbers (N, F), by which imagery is compared with the training imagery. They are
means of the encoder's features at a stride of 8 pixels or less: these respond to textures and colours, by which imagery
of another region or sensor differs before its classes do. Features of the deepest stage separate less.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.window_padding import cropped

MOST_FEATURES = 64
"""Most numbers for a crop; more channels than that are folded to as many."""
_STRIDE = 8
"""Largest stride of the features, in pixels, if the encoder has any as fine."""


def crop_features(network: nn.Module, image: Tensor, valid: Tensor) -> Tensor:
    """Means (N, F) of the features of crops, float32, over their pixels with data; F is 0 for a network without any.

    Args:
        network: the network, in evaluation mode.
        image: band values (N, C, h, w), float32, on its device.
        valid: which pixels hold data (N, h, w), some in each crop.
    """
    if not isinstance(network, SegmentationNetwork):
        return image.new_zeros(len(image), 0)
    body = network.body
    padded = body.sides.padded(network.normalize(image))
    chosen = _chosen(body.encode(padded).maps, padded.shape[-1])
    if chosen is None:
        return image.new_zeros(len(image), 0)
    maps = cropped(chosen.float(), padded.shape, image.shape)
    weights = functional.adaptive_avg_pool2d(valid[:, None].float(), (maps.shape[-2], maps.shape[-1]))
    return _folded((maps * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)))


def _chosen(maps: Sequence[Tensor], width: int) -> Tensor | None:
    """The coarsest map of a stride that is not above the largest, else the finest; None if all are empty."""
    held = [one for one in maps if one.shape[1]]
    fine = [one for one in held if width <= _STRIDE * one.shape[-1]]
    return fine[-1] if fine else next(iter(held), None)


def _folded(means: Tensor) -> Tensor:
    """Numbers (N, C) as at most `MOST_FEATURES`, each the sum of a few of them with alternating signs."""
    found = means[:, :MOST_FEATURES].clone()
    for number, first in enumerate(range(MOST_FEATURES, means.shape[1], MOST_FEATURES)):
        part = means[:, first : first + MOST_FEATURES]
        found[:, : part.shape[1]] += part if number % 2 else -part
    return found
