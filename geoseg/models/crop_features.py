"""The features that a network sees in crops of imagery, a few numbers for each crop.

In: band values (N, C, h, w). Out: numbers (N, F), by which imagery is compared with the training imagery. They are
means of the encoder's features at a stride of 8 pixels or less: these respond to textures and colours, by which imagery
of another region or sensor differs before its classes do. Features of the deepest stage separate less.

Later stages are not computed, unless they have to be: an encoder is left as soon as the module that gives these
features has given them, which is found by a first crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from geoseg.models.families.body import Body
from geoseg.models.makers import Makers
from geoseg.models.segmentation import SegmentationNetwork
from geoseg.models.window_padding import cropped

MOST_FEATURES = 64
"""Most numbers for a crop; more channels than that are folded to as many."""
_STRIDE = 8
"""Largest stride of the features, in pixels, if the encoder has any as fine."""


class CropFeatures:
    """The features of one network, in evaluation mode, whose weights are final."""

    def __init__(self, network: nn.Module):
        self._network = network if isinstance(network, SegmentationNetwork) else None
        self._last: nn.Module | None = None
        self._is_tried = False

    def __call__(self, image: Tensor, valid: Tensor) -> Tensor:
        """Means (N, F) of the features of crops, float32, over their pixels with data; F is 0 for a network without.

        Args:
            image: band values (N, C, h, w), on the network's device.
            valid: which pixels hold data (N, h, w), some in each crop.
        """
        network = self._network
        if network is None:
            return torch.zeros(len(image), 0, device=image.device)
        padded = network.body.sides.padded(network.normalize(image))
        chosen = self._chosen(network.body, padded)
        if chosen is None:
            return padded.new_zeros(len(image), 0)
        maps = cropped(chosen.float(), padded.shape, image.shape)
        weights = functional.adaptive_avg_pool2d(valid[:, None].float(), (maps.shape[-2], maps.shape[-1]))
        return _folded((maps * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)))

    def _chosen(self, body: Body, padded: Tensor) -> Tensor | None:
        """Features (N, C', h', w') of normalised values; None if there are none."""
        if not self._is_tried:
            self._is_tried, self._last = True, _last_needed(body, padded[:1])
        found = None if self._last is None else _left_early(body, padded, self._last)
        return _choose(body.encode(padded).maps, padded.shape[-1]) if found is None else found


def _last_needed(body: Body, padded: Tensor) -> nn.Module | None:
    """The module of an encoder that gives the features of normalised values (1, C, h, w); None if none does."""
    with Makers(body) as makers:
        chosen = _choose(body.encode(padded).maps, padded.shape[-1])
    if chosen is None:
        return None
    for module in makers.of(chosen):
        found = _left_early(body, padded, module)
        if found is not None and torch.equal(chosen, found):
            return module
    return None


def _left_early(body: Body, padded: Tensor, last: nn.Module) -> Tensor | None:
    """What a module of an encoder gives, after which the rest is not computed; None if it was not called."""
    caller = get_ident()

    def leave(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        if get_ident() == caller:  # others may be using the network
            raise _Left(output)

    handle = last.register_forward_hook(leave)
    try:
        body.encode(padded)
    except _Left as left:
        return left.output
    finally:
        handle.remove()
    return None


class _Left(BaseException):
    """Carries the output of a module out of a network, past all handlers of errors."""

    def __init__(self, output: Tensor):
        super().__init__()
        self.output = output


def _choose(maps: Sequence[Tensor], width: int) -> Tensor | None:
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
