"""Which convolutions of a network 8-bit integers cost most. In: ranges and windows. Out: names of a few, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from geoseg.models.quantization.network import layer_errors, quantize
from geoseg.models.quantization.ranges import Ranges
from geoseg.models.segmentation import SegmentationNetwork

MOST_SHARE = 0.2
"""Share of the convolutions that may go on with floats."""


def most_sensitive(
    network: SegmentationNetwork, ranges: Ranges, windows: Sequence[Tensor], least: float
) -> tuple[str, ...]:
    """Names of the convolutions that go on with floats, so that enough pixels get the same class as with floats alone.

    Those whose own outputs differ most go on with floats, first one, then twice as many as before, until enough pixels
    agree, or a fifth of all convolutions do. None do if that does not help.

    Args:
        network: the network, in float32 on the CPU.
        ranges: of all its convolutions.
        windows: band values (1, C, H, W); a few are enough.
        least: share of pixels that must get the same class.
    """
    compared = _FloatClasses(network, windows)
    before = compared.agreement(quantize(network, ranges))
    if before >= least:
        return ()
    errors = layer_errors(network, ranges, windows[0])
    order = sorted(errors, key=lambda name: -errors[name])
    most, count, found = int(MOST_SHARE * len(order)), 1, before
    chosen: tuple[str, ...] = ()
    while count <= most and found < least:
        chosen = tuple(sorted(order[:count]))
        found, count = compared.agreement(quantize(network, without(ranges, chosen), chosen)), 2 * count
    return chosen if found > before else ()


def without(ranges: Ranges, names: Collection[str]) -> Ranges:
    """The ranges of other convolutions."""
    return {name: values for name, values in ranges.items() if name.rpartition("/")[0] not in names}


class _FloatClasses:
    """Classes of a network of floats, to which those of others are compared."""

    def __init__(self, network: SegmentationNetwork, windows: Sequence[Tensor]):
        self._windows = windows
        with torch.inference_mode():
            self._classes = [network.eval()(window.float()).argmax(1) for window in windows]

    def agreement(self, other: SegmentationNetwork) -> float:
        """Share of pixels with the same class."""
        with torch.inference_mode():
            pairs = zip(self._windows, self._classes, strict=True)
            same = [(other(window.float()).argmax(1) == classes).float().mean() for window, classes in pairs]
        return float(torch.stack(same).mean())
